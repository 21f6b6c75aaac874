"""Time a training step of the engine against the loop that everyone writes: python -m benchmarks [KEY...]."""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fashion import FashionError
from fashion.advice import explained
from fashion.files import write_json
from fashion.memory import SETTINGS
from fashion.params import Params

# Who, and with which environment: memory settings help the plain loop too, so that both are told apart.
RUNS: dict[str, tuple[str, dict[str, str]]] = {
    "plain loop": ("plain", {}),
    "plain loop, memory kept": ("plain", SETTINGS),
    "engine": ("engine", SETTINGS),
}
KEYS = ["lenet5", "fcnn", "cnn", "conv4_pool2_bn", "convnet", "wide_dense", "alexnet"]
# How long one measurement is to take, in seconds.
SECONDS = 2.5


def benchmark(
    keys: Annotated[list[str] | None, typer.Argument(help=f"Keys of `models`; {', '.join(KEYS)} if none.")] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of each, interleaved.", min=1)] = 5,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("benchmarks/training.json"),
) -> None:
    """Time a training step of each architecture, interleaved, and print medians, spreads and ratios.

    The data must be in data/raw (dvc repro download). Batches of 128, Adam, no augmentation. Example:
    python -m benchmarks cnn alexnet
    """
    params = Params.load()
    if not Path("data/raw").is_dir():
        raise FashionError("data/raw is not here: fetch it with dvc repro download.")
    figures: dict[str, Any] = {"machine": _machine(), "rounds": rounds, "milliseconds": {}}
    table = Table("architecture", *RUNS, "against plain", "against plain, memory kept", box=None, header_style="bold")
    for key in keys or KEYS:
        params.architecture(key)
        # A first, short measurement says how many steps fill the time.
        steps = max(5, int(SECONDS * 1e3 / _measure("engine", key, 5, SETTINGS)))
        times: dict[str, list[float]] = {name: [] for name in RUNS}
        for number in range(rounds):
            for name, (contestant, environment) in RUNS.items():
                typer.echo(f"{key}, round {number + 1} of {rounds}: {name}", err=True)
                times[name].append(_measure(contestant, key, steps, environment))
        figures["milliseconds"][key] = times
        medians = {name: statistics.median(values) for name, values in times.items()}
        cells = [f"{medians[name]:.2f} ({min(values):.2f} to {max(values):.2f})" for name, values in times.items()]
        ratios = [f"{medians[name] / medians['engine']:.2f}x" for name in list(RUNS)[:2]]
        table.add_row(key, *cells, *ratios)
        write_json(output, figures)
    Console(width=160).print(table)
    typer.echo(f"milliseconds a step, median (least to most) of {rounds}; {figures['machine']}")


def _measure(contestant: str, key: str, steps: int, environment: dict[str, str]) -> float:
    """Milliseconds a step in a process of its own, which alone reads glibc's settings anew."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "benchmarks.contestants", contestant, key, str(steps)]
    done = subprocess.run(command, env=clean | environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    return float(json.loads(done.stdout))


def _machine() -> str:
    """The processor, its cores and the versions that matter, in words."""
    import torch

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        names = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return (
        f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    with explained():
        typer.run(benchmark)
