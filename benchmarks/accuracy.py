"""Seconds to a published accuracy: our recipes in our engine, and the published one in the usual PyTorch loop."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer
from torch.utils.data import Subset
from tqdm import tqdm

from benchmarks.contestants import dataset, hardware, loader, loop, plain_network
from benchmarks.measuring import RAW
from benchmarks.processes import alone, continued, machine, need
from benchmarks.processes import ours as our_environment
from fashion.data.reading import read_part, read_split
from fashion.errors import FashionError, did_you_mean
from fashion.files import write_json
from fashion.networks.building import build
from fashion.settings.description import NO_AUGMENT
from fashion.settings.params import Params
from fashion.showing import markdown
from fashion.showing.pages import percent
from fashion.training.engine import begin, train

# Recipes made for speed, chosen on validation, for two architectures that also have a row KEY_published: no
# augmentation, and so few epochs that the rate soon falls to zero.
SHORT = {"learning_rate": 0.002, "weight_decay": 0.01, "label_smoothing": 0.0, "augment": NO_AUGMENT}
FAST: dict[str, dict[str, Any]] = {
    "fcnn": SHORT | {"epochs": 12},
    "cnn": SHORT | {"epochs": 5, "learning_rate": 0.004},
}
KEYS = [*FAST]
RECIPES = ("published", "ours", "fast")


def accuracy(keys: list[str] | None, output: Path) -> None:
    """Measure, write the figures and print them as a table."""
    need(RAW, "download")
    params, chosen = Params.load(), keys or KEYS
    for key in chosen:
        if key not in FAST:
            raise FashionError(f"{key} has no recipe made for speed: {did_you_mean(key, KEYS)}")
        need(Path(f"data/splits/{key}_published.csv"), "split")
        if "test_accuracy" not in params.claims(key):
            raise FashionError(f"no test accuracy is published for {key} on {params.data.dataset}.")
    figures = continued(output, {"machine": machine(), "runs": {}}, "runs")
    with tqdm(total=len(chosen) * len(RECIPES), unit="run", disable=None, leave=False) as bar:
        for key in chosen:
            runs = {}
            for name in RECIPES:
                environment = {} if name == "published" else our_environment(key)
                bar.set_description(f"{key}: {name}")
                runs[name] = alone("benchmarks.accuracy", name, key, environment=environment)
                bar.update()
            figures["runs"][key] = runs
            write_json(output, figures)
    typer.echo(table(figures))


def table(figures: dict[str, Any]) -> str:
    """Markdown: epochs and seconds of all recipes, and how many times faster ours are."""
    rows = []
    for key, runs in figures["runs"].items():
        published, *others = (runs[name] for name in ("published", "ours", "fast"))
        target = percent(published["target"])
        rows.append([f"`{key}`", target, _time(published), *(_time(run) + _ratio(published, run) for run in others)])
    head = ["architecture", "validation accuracy", "published recipe, plain loop", "its row's recipe", "made for speed"]
    note = f"Seconds until the validation accuracy is reached, one run of each; {figures['machine']}."
    return f"{markdown.table(head, rows)}\n\n{note}"


def _time(run: dict[str, Any]) -> str:
    """A run's seconds and epochs, and its best accuracy if it missed the target."""
    best = "" if _reached(run) else f", not reached: best {percent(run['best'])}"
    return f"{run['seconds']:.0f} s ({run['epochs']} epochs{best})"


def _ratio(published: dict[str, Any], run: dict[str, Any]) -> str:
    """How many times faster a run was than the published recipe; empty if it missed the target."""
    ratio = published["seconds"] / run["seconds"]
    return f", **{'' if _reached(published) else 'at least '}{ratio:.1f}x**" if _reached(run) else ""


def _reached(run: dict[str, Any]) -> bool:
    """Whether a run reached its target."""
    return bool(run["best"] >= run["target"])


def race(epochs: Iterator[float], target: float) -> dict[str, Any]:
    """Run epochs, each giving its validation accuracy, until one reaches the target; time all that they do."""
    started = time.perf_counter()
    accuracies: list[float] = []
    for value in epochs:
        accuracies.append(value)
        if value >= target:
            break
    seconds = time.perf_counter() - started
    return {"target": target, "seconds": seconds, "epochs": len(accuracies), "best": max(accuracies)}


def ours(params: Params, key: str) -> Iterator[float]:
    """Train as `python -m stages train` does."""
    yield from _trained(params, key, {})


def fast(params: Params, key: str) -> Iterator[float]:
    """Train so by the recipe made for speed."""
    yield from _trained(params, key, FAST[key])


def _trained(params: Params, key: str, changes: dict[str, Any]) -> Iterator[float]:
    row = params.architecture(key)
    row = row.model_copy(update={"train": row.train.model_copy(update=changes)})
    network = build(row.layers, row.init, params.seeds[0])
    run = begin(network, row, params.seeds[0], hardware(row.train.precision))
    for epoch in train(run, *read_split(Path(f"data/splits/{key}.csv"), read_part(RAW, "train"))):
        yield epoch.validation_accuracy


def published(params: Params, key: str) -> Iterator[float]:
    """Run the published recipe in the usual PyTorch loop, on the same split."""
    row = params.architecture(f"{key}_published")
    network, images = plain_network(row), dataset()
    optimizer = torch.optim.Adam(network.parameters(), lr=row.train.learning_rate)
    manifest = pd.read_csv(f"data/splits/{key}_published.csv")
    training, validation = (
        loader(Subset(images, manifest.loc[manifest["part"] == part, "index"].tolist()), row.train.batch_size)
        for part in ("train", "validation")
    )
    for _ in range(row.train.epochs):
        deque(loop(network, optimizer, training), maxlen=0)
        network.eval()
        device = next(network.parameters()).device
        with torch.no_grad():
            right = [
                (network(batch.to(device)).argmax(1).cpu() == labels).float().mean() for batch, labels in validation
            ]
        yield sum(right).item() / len(right)


if __name__ == "__main__":
    settings = Params.load()
    name, key = sys.argv[1:]
    epochs = {"ours": ours, "fast": fast, "published": published}[name](settings, key)
    # For the parent process.
    print(json.dumps(race(epochs, settings.claims(key)["test_accuracy"])))  # noqa: T201 - see above
