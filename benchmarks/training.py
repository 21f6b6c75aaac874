"""A training step, side by side: the engine, the loop that everyone writes, Lightning and Keras."""

import statistics
import sys
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from benchmarks.processes import RAW, alone, busy_process, machine, need
from fashion.files import read_json, write_json
from fashion.params import Params
from fashion.running.environment import MEMORY

# Their requirements are in peers.txt; make peers makes it.
PEERS = Path(".venv-peers/bin/python")
# Column, module, contestant and environment: memory settings help the plain loop too, so that both are told apart.
# What is ours sets its own.
RUNS: dict[str, tuple[str, str, dict[str, str]]] = {
    "plain loop": ("contestants", "plain", {}),
    "plain loop, memory kept": ("contestants", "plain", MEMORY),
    "Lightning": ("peers", "lightning", {}),
    "Keras": ("peers", "keras", {}),
    "engine": ("contestants", "engine", {}),
    "data work": ("contestants", "data", {}),
    "arithmetic": ("contestants", "floor", {}),
}
KEYS = ["lenet5", "fcnn", "cnn", "conv4_pool2_bn", "convnet", "wide_dense", "alexnet"]
# How long one measurement is to take in the engine, in seconds.
SECONDS = 1.5


def training(
    keys: Annotated[list[str] | None, typer.Argument(help=f"Keys of `models`; {', '.join(KEYS)} if none.")] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of each, interleaved.", min=1)] = 5,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also measure next to a process that keeps a core busy.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("benchmarks/training.json"),
) -> None:
    """Time a training step of each architecture and print medians, spreads and ratios.

    Batches of 128, Adam, no augmentation. Lightning and Keras take part once make peers has installed them. Rows
    measured before on the same machine stay.
    Example: python -m benchmarks training cnn alexnet
    """
    need(RAW, "download")
    params = Params.load()
    runs = {name: run for name, run in RUNS.items() if run[0] != "peers" or PEERS.is_file()}
    conditions = ["quiet", "busy"] if busy else ["quiet"]
    figures: dict[str, Any] = {"machine": machine(), "rounds": rounds, "milliseconds": {}}
    # Ratios are of one row, so that rows may be of several runs on one machine.
    if output.is_file() and (before := read_json(output)) | {"milliseconds": {}} == figures:
        figures = before
    total = len(keys or KEYS) * rounds * len(runs) * len(conditions)
    with tqdm(total=total, unit="run", disable=None, leave=False) as bar:
        for key in keys or KEYS:
            params.architecture(key)
            # A first, short measurement says how many steps fill the time.
            first = alone("benchmarks.contestants", "engine", key, "5", environment={})
            steps = max(5, int(SECONDS * 1e3 / first))
            times: dict[str, dict[str, list[float]]] = {when: {name: [] for name in runs} for when in conditions}
            for _, (name, (module, contestant, environment)), when in product(range(rounds), runs.items(), conditions):
                bar.set_description(f"{key}: {name}, {when}")
                python = str(PEERS) if module == "peers" else sys.executable
                # A busy core makes some contestants dozens of times slower.
                count = steps if when == "quiet" else max(5, steps // 4)
                words = (f"benchmarks.{module}", contestant, key, str(count))
                with busy_process() if when == "busy" else nullcontext():
                    times[when][name].append(alone(*words, python=python, environment=environment))
                bar.update()
            figures["milliseconds"][key] = times
            write_json(output, figures)
    typer.echo(table(figures))


def table(figures: dict[str, Any]) -> str:
    """Markdown: milliseconds a step, median (least to most), and the median as a multiple of the engine's.

    Where there are figures of a busy machine, a second table has each as a multiple of its own quiet step too.
    """
    rows = figures["milliseconds"]
    rounds = f"Milliseconds a step: median (least to most) of {figures['rounds']} interleaved rounds"
    machine = f"bold, as a multiple of the engine's. The engine's machine: {figures['machine']}; the others: fp32."
    lines = [*_table({key: times["quiet"] for key, times in rows.items()}, {}), "", f"{rounds}; {machine}"]
    if busy := {key: times["busy"] for key, times in rows.items() if "busy" in times}:
        lines += ["", *_table(busy, rows), "", "The same next to a process that keeps one core busy"]
        lines[-1] += "; in italics, as a multiple of the quiet step."
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, list[float]]], quiet: dict[str, Any]) -> list[str]:
    names = list(next(iter(rows.values())))
    lines = [f"| architecture | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key, times in rows.items():
        engine = statistics.median(times["engine"])
        cells = [f"`{key}`"]
        for name, values in times.items():
            median = statistics.median(values)
            ratio = "" if name == "engine" else f", **{median / engine:.2f}x**"
            slower = f", *{median / statistics.median(quiet[key]['quiet'][name]):.1f}x*" if quiet else ""
            cells.append(f"{_short(median)} ({_short(min(values))} to {_short(max(values))}){ratio}{slower}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _short(milliseconds: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{milliseconds:.3g}'):g}"
