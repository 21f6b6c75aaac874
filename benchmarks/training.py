"""A training step, side by side: the engine, the usual PyTorch loop and an expert's, Lightning, Keras and JAX."""

import re
import statistics
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import distributions
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import typer
from tqdm import tqdm

from benchmarks.measuring import RAW
from benchmarks.processes import alone, busy_process, continued, machine, need, ours
from fashion.environment import MEMORY
from fashion.files import write_json
from fashion.settings.params import Params
from fashion.showing import markdown

# Their requirements are in peers.txt; make peers creates the environment.
PEERS = Path(".venv-peers/bin/python")
PACKAGES = ("flax", "jax", "keras", "lightning", "optax", "tensorflow-cpu")


class Contestant(NamedTuple):
    """A row of the table: a function in a module of benchmarks, and environment variables."""

    module: str
    function: str
    environment: Mapping[str, str] = MappingProxyType({})


def _keras(function: str, backend: str) -> Contestant:
    # The comparison is on CPUs.
    return Contestant("peer_keras", function, {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""})


ONEDNN = {"XLA_FLAGS": "--xla_cpu_use_onednn=true --xla_cpu_experimental_onednn_custom_call=true"}
CONTESTANTS = {
    "plain loop": Contestant("contestants", "plain"),
    # The engine's settings of memory help the plain loop too.
    "plain loop, memory kept": Contestant("contestants", "plain", MEMORY),
    "expert's loop, bf16": Contestant("contestants", "expert", MEMORY),
    "Lightning": Contestant("peer_lightning", "lightning"),
    "Keras on TensorFlow": _keras("fp32", "tensorflow"),
    "Keras on TensorFlow, bf16": _keras("bf16", "tensorflow"),
    "Keras on JAX": _keras("fp32", "jax"),
    "JAX": Contestant("peer_jax", "fp32"),
    "JAX with oneDNN": Contestant("peer_jax", "fp32", ONEDNN),
    "JAX with oneDNN, bf16": Contestant("peer_jax", "bf16", ONEDNN),
    "engine": Contestant("contestants", "engine"),
    # Portable kernels rule out AMX in bf16, and AVX512 in fp32.
    "engine, fastest kernels, fp32": Contestant("contestants", "engine_fp32", MEMORY),
    "engine, fastest kernels, bf16": Contestant("contestants", "engine_bf16", MEMORY),
    "data work": Contestant("contestants", "data"),
    "arithmetic": Contestant("contestants", "arithmetic"),
}
# The columns of docs/speed.md; where a column has several contestants, the fastest counts.
COLUMNS = {
    "plain loop": ("plain loop",),
    "memory kept": ("plain loop, memory kept",),
    "expert's loop": ("expert's loop, bf16",),
    "Lightning": ("Lightning",),
    "Keras": ("Keras on TensorFlow", "Keras on TensorFlow, bf16", "Keras on JAX"),
    "JAX": ("JAX", "JAX with oneDNN", "JAX with oneDNN, bf16"),
    "engine in fp32": ("engine, fastest kernels, fp32",),
    "engine in bf16": ("engine, fastest kernels, bf16",),
}
ENGINE, PARTS = "engine", ("data work", "arithmetic")
KEYS = ["lenet5", "fcnn", "cnn", "conv4_pool2_bn", "convnet", "wide_dense", "alexnet"]
# Seconds that one measurement of the engine takes.
SECONDS = 1.5


def training(keys: list[str] | None, rounds: int, busy: bool, output: Path) -> None:
    """Measure, write the figures and print them as tables."""
    need(RAW, "download")
    params, chosen = Params.load(), keys or KEYS
    for key in chosen:
        params.architecture(key)
    peers = PEERS.is_file()
    names = [name for name, one in CONTESTANTS.items() if peers or not one.module.startswith("peer")]
    conditions = ["quiet", "busy"] if busy else ["quiet"]
    start = {"machine": machine(), "versions": versions(), "rounds": rounds, "milliseconds": {}}
    figures = continued(output, start, "milliseconds")
    with tqdm(total=len(chosen) * rounds * len(names) * len(conditions), unit="run", disable=None, leave=False) as bar:
        for key in chosen:
            # A first, short measurement gives the number of steps that fill the time.
            steps = max(5, int(SECONDS * 1e3 / _measured(ENGINE, key, 5)))
            times: dict[str, dict[str, list[float]]] = {when: {name: [] for name in names} for when in conditions}
            for _, name, when in product(range(rounds), names, conditions):
                bar.set_description(f"{key}: {name}, {when}")
                # A busy core makes some contestants several times slower.
                count = steps if when == "quiet" else max(5, steps // 4)
                with busy_process() if when == "busy" else nullcontext():
                    times[when][name].append(_measured(name, key, count))
                bar.update()
            figures["milliseconds"][key] = times
            write_json(output, figures)
    typer.echo(table(figures))


def versions() -> dict[str, str]:
    """The versions of the peers that are installed."""
    folders = [str(folder) for folder in PEERS.parent.parent.glob("lib/python*/site-packages")]
    installed = {one.name.replace("_", "-"): one.version for one in distributions(path=folders)}
    return {name: installed[name] for name in PACKAGES if name in installed}


def _measured(name: str, key: str, steps: int) -> float:
    """A contestant's milliseconds per step."""
    module, function, environment = CONTESTANTS[name]
    python = str(PEERS) if module.startswith("peer") else sys.executable
    if name in (ENGINE, *PARTS):
        environment = ours(key)
    value: float = alone(f"benchmarks.{module}", function, key, str(steps), python=python, environment=environment)
    return value


def table(figures: dict[str, Any]) -> str:
    """Markdown: milliseconds per step, median (least to most), and the median as a multiple of the engine's.

    If there are figures with a busy core, a second table also has each as a multiple of its own quiet step.
    """
    rows = figures["milliseconds"]
    quiet = {key: times["quiet"] for key, times in rows.items()}
    how = _how(figures, "median (least to most)")
    peers = ", ".join(f"{name} {version}" for name, version in figures["versions"].items()) or "not installed"
    note = f"bold, as a multiple of the engine's. The engine's machine: {figures['machine']}; the peers: {peers}."
    lines = [_table(quiet, {}), "", f"Milliseconds per step: {how}; {note}"]
    if busy := {key: times["busy"] for key, times in rows.items() if "busy" in times}:
        lines += ["", _table(busy, quiet), "", "The same next to a process that keeps one core busy"]
        lines[-1] += "; in italics, as a multiple of the quiet step."
    return "\n".join(lines)


def page(machines: list[dict[str, Any]]) -> str:
    """Markdown for docs: the engine's milliseconds per step on each machine, and the peers' as multiples of them."""
    rows, notes = [], []
    for figures in machines:
        networks = figures["milliseconds"]
        # Up to the first comma that is not in brackets.
        processor = "".join(re.findall(r"^(?:\([^)]*\)|[^,(])*", figures["machine"]))
        busy = {key: times for key, times in networks.items() if "busy" in times}
        for name, when, shown in ((processor, "quiet", networks), (f"{processor}, busy", "busy", busy)):
            rows += [[name, f"`{key}`", *_multiples(times[when])] for key, times in shown.items()]
        notes.append(f"{figures['machine']}: {_how(figures, 'median')}.")
        if busy:
            notes.append(f"Next to the busy process, steps take longer: {_slower(list(busy.values()))}.")
    head = ["processor", "network", "engine, ms", *COLUMNS]
    return f"{markdown.table(head, rows)}\n\n{' '.join(notes)}"


def _how(figures: dict[str, Any], statistic: str) -> str:
    rounds = figures["rounds"]
    return f"{statistic} of {rounds} interleaved rounds" if rounds > 1 else "one measurement of each"


def _multiples(times: dict[str, list[float]]) -> list[str]:
    """The engine's median, and each column's as a multiple of it: bold if it is faster, empty if not measured."""
    engine = statistics.median(times[ENGINE])
    shown = (f"{median / engine:.2f}" if (median := _fastest(times, names)) else "" for names in COLUMNS.values())
    return [_short(engine), *(f"**{text}**" if text and float(text) < 1 else text for text in shown)]


def _slower(networks: list[dict[str, dict[str, list[float]]]]) -> str:
    """The range of each column's busy median as a multiple of its quiet one."""
    parts = []
    for column, names in {ENGINE: (ENGINE,), **COLUMNS}.items():
        ratios = [
            busy / quiet
            for times in networks
            if (busy := _fastest(times["busy"], names)) and (quiet := _fastest(times["quiet"], names))
        ]
        parts += [f"{column} {min(ratios):.1f} to {max(ratios):.1f} times"] if ratios else []
    return ", ".join(parts)


def _fastest(times: dict[str, list[float]], names: tuple[str, ...]) -> float:
    """The smallest median of these contestants; 0 if none was measured."""
    return min((statistics.median(times[name]) for name in names if name in times), default=0)


def _table(columns: dict[str, dict[str, list[float]]], quiet: dict[str, dict[str, list[float]]]) -> str:
    """A row for each contestant, a column for each architecture."""
    rows = [[name, *(_cell(name, times, quiet.get(key)) for key, times in columns.items())] for name in CONTESTANTS]
    present = [row for row in rows if any(row[1:])]
    return markdown.table(["", *(f"`{key}`" for key in columns)], present)


def _cell(name: str, times: dict[str, list[float]], quiet: dict[str, list[float]] | None) -> str:
    """A contestant's time for an architecture; empty if it was not measured."""
    if name not in times:
        return ""
    values, median = times[name], statistics.median(times[name])
    spread = f" ({_short(min(values))} to {_short(max(values))})" if len(values) > 1 else ""
    ratio = "" if name == ENGINE else f", **{median / statistics.median(times[ENGINE]):.2f}x**"
    slower = f", *{median / statistics.median(quiet[name]):.1f}x*" if quiet else ""
    return f"{_short(median)}{spread}{ratio}{slower}"


def _short(milliseconds: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{float(f'{milliseconds:.3g}'):g}"
