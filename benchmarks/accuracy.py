"""Seconds to a published accuracy: this project's recipe and engine against the published recipe in a plain loop."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm

from benchmarks.contestants import dataset, loader, loop, torchs
from benchmarks.processes import RAW, alone, machine, need
from fashion import FashionError
from fashion.data import read_part, read_split
from fashion.files import write_json
from fashion.params import Params
from fashion.running.environment import prepare

# Those whose published recipe is known; its row has the suffix _published.
KEYS = ["fcnn", "cnn"]
RUNS = ("ours", "published")


def accuracy(
    keys: Annotated[list[str] | None, typer.Argument(help=f"Keys of `models`; {', '.join(KEYS)} if none.")] = None,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("benchmarks/accuracy.json"),
) -> None:
    """Time each training until its validation accuracy reaches the published figure, or to its end.

    Example: python -m benchmarks accuracy fcnn
    """
    need(RAW, "download")
    params = Params.load()
    for key in keys or KEYS:
        split = params.architecture(f"{key}_published").split
        need(Path(f"data/splits/{split}.csv"), "split")
        if "test_accuracy" not in params.claims(key):
            raise FashionError(f"no test accuracy is published for {key} on {params.data.dataset}.")
    figures: dict[str, Any] = {"machine": machine(), "runs": {}}
    with tqdm(total=len(keys or KEYS) * len(RUNS), unit="run", disable=None, leave=False) as bar:
        for key in keys or KEYS:
            runs = {}
            for name in RUNS:
                bar.set_description(f"{key}: {name}")
                runs[name] = alone("benchmarks.accuracy", name, key, environment={})
                bar.update()
            figures["runs"][key] = runs
            write_json(output, figures)
    typer.echo(table(figures))


def table(figures: dict[str, Any]) -> str:
    """Markdown: epochs and seconds of either, and the ratio."""
    lines = ["| architecture | validation accuracy | published recipe, plain loop | ours | |", "|---|---|---|---|---|"]
    for key, runs in figures["runs"].items():
        cells = [f"`{key}`", f"{runs['ours']['target']:.2%}".replace("%", " %")]
        for run in (runs["published"], runs["ours"]):
            best = f", not reached: best {run['best']:.2%}".replace("%", " %") if _least(run) else ""
            cells.append(f"{run['seconds']:.0f} s ({run['epochs']} epochs{best})")
        ratio = f"**{_least(runs['published'])}{runs['published']['seconds'] / runs['ours']['seconds']:.1f}x**"
        lines.append(f"| {' | '.join(cells)} | {'' if _least(runs['ours']) else ratio} |")
    return "\n".join(
        [*lines, "", f"Seconds until the validation accuracy is reached, one run of each; {figures['machine']}."]
    )


def _least(run: dict[str, Any]) -> str:
    """What is to be said before the time of a run that ended without reaching its target."""
    return "" if run["best"] >= run["target"] else "at least "


def race(epochs: Iterator[float], target: float) -> dict[str, Any]:
    """Run epochs, each giving its validation accuracy, until one reaches the target; everything counts."""
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
    from fashion.hardware import choose
    from fashion.networks import build
    from fashion.training import begin, train

    row = params.architecture(key)
    split = Path(f"data/splits/{row.split}.csv")
    network = build(row.layers, row.init, params.seed)
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    run = begin(network, row, params.seed, hardware)
    for epoch in train(run, *read_split(split, read_part(RAW, "train"))):
        yield epoch.validation_accuracy


def published(params: Params, key: str) -> Iterator[float]:
    """Run the published recipe in the loop that everyone writes, on the same split."""
    import torch
    from torch.utils.data import Subset

    row = params.architecture(f"{key}_published")
    network, images = torchs(row), dataset()
    optimizer = torch.optim.Adam(network.parameters(), lr=row.train.learning_rate)
    manifest = pd.read_csv(f"data/splits/{row.split}.csv")
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
    if name == "ours":
        prepare(settings.gpu.kernels)
    goal = settings.claims(key)["test_accuracy"]
    print(json.dumps(race({"ours": ours, "published": published}[name](settings, key), goal)))  # noqa: T201 - to the parent
