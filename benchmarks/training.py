"""A training step, side by side: the engine, the usual PyTorch loop, Lightning and Keras."""

import statistics
import sys
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from benchmarks import markdown
from benchmarks.measuring import RAW
from benchmarks.processes import alone, busy_process, continued, machine, need, ours
from fashion.files import write_json
from fashion.running.environment import MEMORY
from fashion.settings.params import Params

# Their requirements are in peers.txt; make peers creates the environment.
PEERS = Path(".venv-peers/bin/python")
# Column, module, contestant. The settings of memory help the plain loop too, so it is measured with and without them.
RUNS = {
    "plain loop": ("contestants", "plain"),
    "plain loop, memory kept": ("contestants", "plain"),
    "Lightning": ("peer_lightning", "lightning"),
    "Keras": ("peer_keras", "tensorflow"),
    "engine": ("contestants", "engine"),
    "data work": ("contestants", "data"),
    "arithmetic": ("contestants", "arithmetic"),
}
# Environment variables by column, if any; `engine` and its parts have the project's own.
ENVIRONMENTS = {
    "plain loop, memory kept": MEMORY,
    # The comparison is on CPUs.
    "Keras": {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
}
KEYS = ["lenet5", "fcnn", "cnn", "conv4_pool2_bn", "convnet", "wide_dense", "alexnet"]
# Seconds that one measurement of the engine takes.
SECONDS = 1.5


def training(keys: list[str] | None, rounds: int, busy: bool, output: Path) -> None:
    """Measure, write the figures and print them as tables."""
    need(RAW, "download")
    params, chosen = Params.load(), keys or KEYS
    for key in chosen:
        params.architecture(key)
    runs = [name for name, (module, _) in RUNS.items() if not module.startswith("peer") or PEERS.is_file()]
    conditions = ["quiet", "busy"] if busy else ["quiet"]
    figures = continued(output, {"machine": machine(), "rounds": rounds, "milliseconds": {}}, "milliseconds")
    with tqdm(total=len(chosen) * rounds * len(runs) * len(conditions), unit="run", disable=None, leave=False) as bar:
        for key in chosen:
            # A first, short measurement gives the number of steps that fill the time.
            steps = max(5, int(SECONDS * 1e3 / _measured("engine", key, 5)))
            times: dict[str, dict[str, list[float]]] = {when: {name: [] for name in runs} for when in conditions}
            for _, name, when in product(range(rounds), runs, conditions):
                bar.set_description(f"{key}: {name}, {when}")
                # A busy core makes some contestants dozens of times slower.
                count = steps if when == "quiet" else max(5, steps // 4)
                with busy_process() if when == "busy" else nullcontext():
                    times[when][name].append(_measured(name, key, count))
                bar.update()
            figures["milliseconds"][key] = times
            write_json(output, figures)
    typer.echo(table(figures))


def _measured(name: str, key: str, steps: int) -> float:
    """A contestant's milliseconds per step."""
    module, contestant = RUNS[name]
    python = str(PEERS) if module.startswith("peer") else sys.executable
    parts = ("engine", "data work", "arithmetic")
    environment = ours() if name in parts else ENVIRONMENTS.get(name, {})
    value: float = alone(f"benchmarks.{module}", contestant, key, str(steps), python=python, environment=environment)
    return value


def table(figures: dict[str, Any]) -> str:
    """Markdown: milliseconds per step, median (least to most), and the median as a multiple of the engine's.

    If there are figures with a busy core, a second table also has each as a multiple of its own quiet step.
    """
    rows = figures["milliseconds"]
    rounds = f"Milliseconds per step: median (least to most) of {figures['rounds']} interleaved rounds"
    machine = f"bold, as a multiple of the engine's. The engine's machine: {figures['machine']}; the others: fp32."
    lines = [_table({key: times["quiet"] for key, times in rows.items()}, {}), "", f"{rounds}; {machine}"]
    if busy := {key: times["busy"] for key, times in rows.items() if "busy" in times}:
        lines += ["", _table(busy, rows), "", "The same next to a process that keeps one core busy"]
        lines[-1] += "; in italics, as a multiple of the quiet step."
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, list[float]]], quiet: dict[str, Any]) -> str:
    lines = []
    for key, times in rows.items():
        engine = statistics.median(times["engine"])
        cells = [f"`{key}`"]
        for name, values in times.items():
            median = statistics.median(values)
            ratio = "" if name == "engine" else f", **{median / engine:.2f}x**"
            slower = f", *{median / statistics.median(quiet[key]['quiet'][name]):.1f}x*" if quiet else ""
            cells.append(f"{_short(median)} ({_short(min(values))} to {_short(max(values))}){ratio}{slower}")
        lines.append(cells)
    return markdown.table(["architecture", *next(iter(rows.values()))], lines)


def _short(milliseconds: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{float(f'{milliseconds:.3g}'):g}"
