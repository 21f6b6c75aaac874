"""The generated tables of README.md and docs/, between the comments `<!-- table: NAME -->` and `<!-- end -->`."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from benchmarks import accuracy, gpu, pipeline, training
from fashion.errors import FashionError, did_you_mean
from fashion.files import read_json, write_text
from fashion.judging.summaries import Ranked
from fashion.networks.building import build, count
from fashion.settings.params import Params
from fashion.showing.markdown import table
from fashion.showing.pages import percent, seeds

SECTION = re.compile(r"(<!-- table: (\w+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def tables() -> None:
    """Write all tables, and print the names of the files that changed."""
    for path in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            write_text(path, after)
            typer.echo(path)


def filled(text: str) -> str:
    """A Markdown file's text with its tables made from the committed figures."""
    return SECTION.sub(lambda section: f"{section[1]}{TABLES[section[2]]()}\n{section[3]}", text)


def architectures() -> str:
    """Each architecture's number of parameters, published and rebuilt accuracy, and time to train."""
    params, timings = Params.load(), read_json(Path("benchmarks/epochs.json"), dict[str, Any])
    board = read_json(Path("metrics/leaderboard.json"), dict[str, Ranked])
    rows = []
    times = {key: timings["seconds"].get(key, 0) * row.train.epochs for key, row in params.models.items()}
    for key, row in params.models.items():
        with torch.device("meta"):
            parameters, _ = count(build(row.layers))
        accuracies = _accuracies(params.claims(key), board.get(key))
        rows.append([f"`{key}`", f"{parameters:,}", *accuracies, _duration(times[key])])
    head = ["architecture", "parameters", "published", "rebuilt", "95 % interval", "further seeds"]
    head += ["without near-duplicates", "without doubtful labels", "time to train"]
    published = [key for key in params.published if not key.endswith("_published")]
    together = _duration(sum(times[key] for key in published))
    trainings = [*params.models, *(repeat.model for repeat in params.repeats.values())]
    note = (
        f"Time to train: the recipe's epochs times the seconds of one epoch, on {timings['machine']}. "
        f"The {len(published)} published architectures, each by our recipe: {together}. All {len(trainings)} "
        f"trainings, with further seeds: {_duration(sum(times[key] for key in trainings))}."
    )
    return f"{table(head, rows, right=(1, 8))}\n\n{note}"


def _accuracies(claims: dict[str, float], scores: Ranked | None) -> list[str]:
    """The published accuracy and all rebuilt ones, on test images unless only validation is published."""
    part = "validation" if "validation_accuracy" in claims and "test_accuracy" not in claims else "test"
    on, claim = "" if part == "test" else f"{part} ", claims.get(f"{part}_accuracy")
    published = "" if claim is None else f"{on}{percent(claim)}"
    if scores is None:
        return [published, "not trained", "", "", "", ""]
    low, high = scores["test_interval"]
    repeats = scores["repeats"].get(part)
    return [
        published,
        f"{on}{percent(scores['validation_accuracy' if on else 'test_accuracy'])}",
        "" if on else f"{percent(low)} to {percent(high)}",
        f"{on}{seeds(repeats)}" if repeats else "",
        percent(scores["distinct_accuracy"]),
        percent(scores["clear_accuracy"]),
    ]


def _duration(seconds: float) -> str:
    """Hours and minutes, rounded to minutes, at least one; empty if there is no measurement."""
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    return "" if not seconds else f"{hours} h {rest} min" if hours else f"{minutes} min"


def show(name: str) -> None:
    """Print all figures of a committed file."""
    if name not in WHOLE:
        raise FashionError(f"{name} has no table: {did_you_mean(name, WHOLE)}")
    typer.echo(_whole(name))


def _whole(name: str) -> str:
    return WHOLE[name](_figures(name))


def _figures(name: str) -> dict[str, Any]:
    return read_json(Path(f"benchmarks/{name}.json"), dict[str, Any])


WHOLE: dict[str, Callable[[dict[str, Any]], str]] = {
    "training": training.table,
    "training_intel": training.table,
    "accuracy": accuracy.table,
    "pipeline": pipeline.table,
    "gpu": gpu.tables,
}
TABLES: dict[str, Callable[[], str]] = {
    "architectures": architectures,
    "training": lambda: training.page([_figures("training"), _figures("training_intel")]),
    "gpu": lambda: gpu.page(_figures("gpu")),
    "accuracy": partial(_whole, "accuracy"),
    "pipeline": partial(_whole, "pipeline"),
}
