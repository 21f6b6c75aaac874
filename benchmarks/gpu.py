"""What a CUDA GPU takes: a step in several forms, trainings by their recipes, and the time to an accuracy.

All of it runs in one process. A training's time begins when its network is on the GPU, and ends before the test images.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
import typer
from torch import nn
from tqdm import tqdm

from benchmarks.contestants import expert_step
from benchmarks.measuring import BATCH
from benchmarks.processes import machine
from fashion.data.fetching import MIRROR, fetch
from fashion.data.reading import Part, read_part, read_split
from fashion.data.splitting import split
from fashion.errors import FashionError
from fashion.files import write_json
from fashion.frames import write_csv
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.networks.inference import logits
from fashion.settings.description import NO_AUGMENT
from fashion.settings.params import Architecture, Params
from fashion.showing.markdown import table
from fashion.showing.pages import percent
from fashion.training import lanes
from fashion.training.augmentation import views
from fashion.training.engine import Epoch, Run, begin, train

# Forms of the engine's step: the precision and settings of `gpu`, and whether a CUDA graph replays it.
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    "eager, fp32": ({"precision": "fp32"}, False),
    "eager": ({}, False),
    "graph": ({}, True),
    "graph, not deterministic": ({"deterministic": False}, True),
    "graph, fp16": ({"precision": "fp16"}, True),
    "graph, compiled": ({"compile": True}, True),
}
COMPILED, EXPERT = "graph, compiled", "expert's loop"
# The rows and columns of docs/speed.md.
ROWS = ("lenet5", "fcnn", "conv4_pool2_bn", "alexnet")
SHOWN = ("eager", "graph", "graph, not deterministic", COMPILED, EXPERT)
# The settings of all forms, apart from their own.
COMMON: dict[str, Any] = {"compile": False, "channels_last": True, "deterministic": True}
DEVICE = "cuda"
# The steps of a measurement: those before it, those between two looks at the clock, and the most of them.
WARMUP, BLOCK, MOST = 20, 20, 300
# The time limits of one measurement, and of all steps, in seconds.
SECONDS, ALL_STEPS = 0.4, 180.0
# Validation accuracies, and the architectures that reach them.
TARGETS, RACERS = (0.94, 0.95), ("champion_small", "champion")


class Late(Exception):  # noqa: N818 - it is not an error
    """The time for an item is over."""


@dataclass(frozen=True)
class Item:
    """A measurement: the section and the names that its figures get, and what makes them before a moment."""

    section: str
    names: tuple[str, ...]
    measure: Callable[[float], Any]


@dataclass(frozen=True)
class Images:
    """The data set in a folder, and its test images."""

    folder: Path
    params: Params
    training: Part
    test: Part

    def parts(self, row: Architecture) -> tuple[Part, Part]:
        """The training and the validation part of an architecture's split."""
        manifest = self.folder / f"{row.split}.csv"
        if not manifest.exists():
            settings = self.params.splits[row.split].model_dump()
            write_csv(manifest, split(self.training.labels, **settings))
        return read_split(manifest, self.training)


def gpu(minutes: float, seeds: int, output: Path) -> None:
    """Measure, write the figures after each measurement, and print them as tables."""
    if not torch.cuda.is_available():
        raise FashionError("this machine or its torch has no CUDA GPU: run the command on a machine that has one.")
    started, params = time.perf_counter(), Params.load()
    figures: dict[str, Any] = {"machine": machine(), "missing": [], "steps": {}, "trainings": {}, "races": {}}
    with TemporaryDirectory() as folder:
        path = Path(folder)
        list(fetch(params.data.dataset, path, os.environ.get(MIRROR)))
        images = Images(path, params, read_part(path, "train"), read_part(path, "test"))
        run_all(items(params, images, seeds), started + 60 * minutes, figures, output)
    typer.echo(tables(figures))


def items(params: Params, images: Images, seeds: int) -> Iterator[Item]:
    """All measurements, in the order in which they are made."""
    ours = [key for key in params.models if not key.endswith("_published")]
    forms = [name for name in (*FORMS, EXPERT) if name != COMPILED]
    # Compiling takes longer than all other measurements of an architecture: it comes last.
    pairs = [*itertools.product(ours, forms), *itertools.product(ours, [COMPILED])]
    yield from (Item("steps", pair, partial(measured, *pair, images)) for pair in pairs)
    last = [key for key in params.models if key.endswith("_published")]
    published = [key for key in ours if key in params.published]
    yield from (Item("trainings", (key,), partial(trained, key, images)) for key in published)
    for seed in range(seeds):
        yield from (Item("races", (key, str(seed)), partial(raced, key, seed, images)) for key in RACERS)
    yield from (Item("trainings", (key,), partial(trained, key, images)) for key in last)


def run_all(todo: Iterator[Item], end: float, figures: dict[str, Any], output: Path) -> None:
    """Make the measurements that end in time; `missing` lists the others, and `errors` those that failed."""
    steps_end = time.perf_counter() + ALL_STEPS
    for item in tqdm(list(todo), unit="item", disable=None, leave=False):
        item_end = min(end, steps_end) if item.section == "steps" else end
        name = " ".join((item.section, *item.names))
        try:
            if time.perf_counter() > item_end:
                raise Late
            section = figures[item.section]
            value = item.measure(item_end)
            for key in item.names[:-1]:
                section = section.setdefault(key, {})
            section[item.names[-1]] = value
        except Late:
            figures["missing"].append(name)
        except (RuntimeError, FashionError) as error:
            figures.setdefault("errors", {})[name] = str(error).split("\n")[0]
        write_json(output, figures)


def measured(key: str, form: str, images: Images, _: float) -> float:
    """Milliseconds of a step of 128 images without augmentation, under Adam."""
    row = images.params.architecture(key)
    recipe = {"batch_size": BATCH, "optimizer": "adam", "augment": NO_AUGMENT, "precision": "bf16"}
    row = row.model_copy(update={"train": row.train.model_copy(update=recipe)})
    pictures, labels = (
        torch.tensor(array, device=DEVICE) for array in (images.training.images, images.training.labels)
    )
    order = torch.randperm(len(labels), device=DEVICE)
    batches = itertools.cycle(order[: len(labels) // BATCH * BATCH].split(BATCH))
    if form == EXPERT:
        return milliseconds(expert_step(row, pictures, labels, batches))
    changes, graph = FORMS[form]
    if form == COMPILED:
        torch.compiler.reset()
    with nullcontext() if graph else patch.object(lanes, "Replay", lambda function, _: function):
        run = started(row, 0, images.params, changes)
        run.lanes.start_epoch([(0, 0)] * row.train.lanes)
        step = run.lanes.stepper(views(pictures, row.train.augment), labels, BATCH)
        return milliseconds(lambda: step(row.train.learning_rate, next(batches)))


def milliseconds(step: Callable[[], object]) -> float:
    """The mean duration of a step after the warm-up."""
    for _ in range(WARMUP):
        step()
    torch.cuda.synchronize()
    begun, count = time.perf_counter(), 0
    while count < MOST and time.perf_counter() - begun < SECONDS:
        for _ in range(BLOCK):
            step()
        torch.cuda.synchronize()
        count += BLOCK
    return (time.perf_counter() - begun) / count * 1e3


def trained(key: str, images: Images, end: float) -> dict[str, float]:
    """Seconds and accuracies of one training by the recipe of params.yaml, with the weights of its best epoch."""
    params = images.params
    row = params.architecture(key)
    parts, run = images.parts(row), started(row, params.seeds[0], params, {})
    begun = time.perf_counter()
    for _ in epochs(run, parts, end):
        pass
    seconds = time.perf_counter() - begun
    run.network.load_state_dict(run.best)
    validation = max(epoch.validation_accuracy for epoch in run.epochs)
    return {"seconds": seconds, "validation_accuracy": validation, "test_accuracy": tested(run, images)}


def raced(key: str, seed: int, images: Images, end: float) -> dict[str, Any]:
    """For each target the seconds and epochs until validation first reaches it, and the test accuracy then.

    The test images end no race, and the time that they take does not count.
    """
    row, reached = images.params.architecture(key), dict[str, Any]()
    parts, run = images.parts(row), started(row, seed, images.params, {})
    seconds, begun = 0.0, time.perf_counter()
    for epoch in epochs(run, parts, end):
        seconds += time.perf_counter() - begun
        for target in TARGETS:
            if epoch.validation_accuracy >= target and str(target) not in reached:
                figures = {"seconds": seconds, "epochs": epoch.number, "test_accuracy": tested(run, images)}
                reached[str(target)] = figures
        if len(reached) == len(TARGETS):
            break
        begun = time.perf_counter()
    best = max(epoch.validation_accuracy for epoch in run.epochs)
    return {"seconds": seconds, "epochs": len(run.epochs), "best": best, "reached": reached}


def started(row: Architecture, seed: int, params: Params, changes: dict[str, Any]) -> Run:
    """A run on the GPU."""
    # The expert's loop sets it.
    torch.backends.cudnn.benchmark = False
    settings = COMMON | changes
    precision = settings.pop("precision", row.train.precision)
    return begin(initial(row, seed), row, seed, choose(DEVICE, params.gpu.model_copy(update=settings), precision))


def epochs(run: Run, parts: tuple[Part, Part], end: float) -> Iterator[Epoch]:
    """Train a run on the first part, epoch by epoch; Late at the end of the time."""
    for epoch in train(run, *parts):
        if time.perf_counter() > end:
            raise Late
        yield epoch


def tested(run: Run, images: Images) -> float:
    """The network's accuracy on the test images, in full precision."""
    pixels, device = run.architecture.pixels, run.hardware.device
    output = logits(run.network, torch.tensor(images.test.images, device=device), pixels.black, pixels.white)
    return float((output.argmax(1).cpu() == torch.tensor(images.test.labels)).float().mean())


_built: dict[str, nn.Sequential] = {}


def initial(row: Architecture, seed: int) -> nn.Sequential:
    """A network that has not been trained; drawing the weights of the largest ones takes seconds, so one is kept."""
    name = f"{row.layers} {row.init} {seed}"
    if name not in _built:
        _built.clear()
        _built[name] = build(row.layers, row.init, seed)
    return deepcopy(_built[name])


def tables(figures: dict[str, Any]) -> str:
    """All figures as Markdown, with what is missing."""
    parts = [_steps(figures["steps"]), _trainings(figures["trainings"]), _races(figures["races"])]
    errors = [f"{name} failed: {why}" for name, why in figures.get("errors", {}).items()]
    missing = [f"Not measured, for lack of time: {', '.join(figures['missing'])}."] if figures["missing"] else []
    return "\n\n".join([*parts, *errors, *missing, f"{figures['machine']}."])


def page(figures: dict[str, Any]) -> str:
    """Markdown for docs: some architectures' steps in some forms, and how far all are from the expert's loop."""
    rows = figures["steps"]
    ratios = [row[EXPERT] / row["graph"] for row in rows.values() if row.keys() >= {EXPERT, "graph"}]
    note = f"The expert's loop takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the graph, for all "
    note += f"{len(ratios)} networks measured. {figures['machine']}."
    return f"{_steps({key: rows[key] for key in ROWS if key in rows}, SHOWN)}\n\n{note}"


def _steps(rows: dict[str, dict[str, float]], names: Sequence[str] = (*FORMS, EXPERT)) -> str:
    cells = [[f"`{key}`", *(f"{row[name]:.3f}" if name in row else "" for name in names)] for key, row in rows.items()]
    return table(["milliseconds per step", *names], cells)


def _trainings(rows: dict[str, dict[str, float]]) -> str:
    cells = [
        [f"`{key}`", percent(row["validation_accuracy"]), percent(row["test_accuracy"]), f"{row['seconds']:.1f}"]
        for key, row in rows.items()
    ]
    return table(["training", "validation", "test", "seconds"], cells)


def _races(rows: dict[str, dict[str, Any]]) -> str:
    cells = [
        [f"`{key}`", seed, *(_reached(race, target) for target in TARGETS), percent(race["best"])]
        for key, of_seeds in rows.items()
        for seed, race in of_seeds.items()
    ]
    return table(["to a validation accuracy", "seed", *map(percent, TARGETS), "best"], cells)


def _reached(race: dict[str, Any], target: float) -> str:
    row = race["reached"].get(str(target))
    return f"{row['seconds']:.1f} s ({row['epochs']} epochs, test {percent(row['test_accuracy'])})" if row else "no"
