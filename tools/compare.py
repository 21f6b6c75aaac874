"""Tool compare: anyone's predicted labels of the test images against every committed network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from fashion.data.datasets import DATASETS, FILES
from fashion.data.reading import Labels, read_idx
from fashion.errors import FashionError, made_by, printable
from fashion.files import read_json, write_text
from fashion.judging.comparing import LEVEL, Paired, by_class, mcnemar, p_value, together
from fashion.judging.doubtful import RANK, read_doubtful
from fashion.judging.evaluated import read_all_predictions
from fashion.judging.labels import read_labels
from fashion.judging.neighbours import read_near
from fashion.judging.ranking import BOARD
from fashion.judging.scores import accuracy
from fashion.judging.summaries import Ranked
from fashion.settings.params import Params
from fashion.showing import charts, markdown
from fashion.showing.pages import render
from fashion.showing.tables import show

# The number of images of each kind that the page shows.
SHOWN = 20


def compare(file: Path, name: str | None, as_json: bool, as_markdown: bool, page: Path | None) -> None:
    """Print the comparison, and write the page."""
    params = Params.load()
    classes = DATASETS[params.data.dataset].classes
    with made_by(RANK):
        board = read_json(BOARD, dict[str, Ranked])
    if not board:
        raise FashionError(f"{BOARD} ranks no network: dvc repro {RANK} makes it.")
    truth, by_name = read_all_predictions([params.name(key) for key in board])
    predicted = dict(zip(board, by_name.values(), strict=True))
    labels = read_labels(file, truth, classes)
    parts = {part: _scores(truth[kept], labels[kept]) for part, kept in _parts(truth).items()}
    theirs = [*predicted.values()]
    tests = together([mcnemar(truth, one, labels) for one in theirs])
    of_classes = by_class(truth, theirs, labels)
    rows = [
        _row(model, float((one == truth).mean()), test, by_label, classes)
        for (model, one), test, by_label in zip(predicted.items(), tests, of_classes, strict=True)
    ]
    found: dict[str, Any] = {"name": printable(name or file.stem), "parts": parts, "rows": rows}
    found |= {"verdict": _verdict(rows), "class_tests": sum(map(len, of_classes))}
    if page:
        write_text(page, _page(found, truth, predicted, labels, classes))
    if as_json:
        images = {model: _decided(truth, theirs, labels) for model, theirs in predicted.items()}
        typer.echo(json.dumps(found | {"images": images}, indent=2))
    elif as_markdown:
        typer.echo(_markdown(found))
    else:
        typer.echo(f"{found['name']}: {found['verdict']}\n")
        show([{"test images": part, **_share(scores)} for part, scores in parts.items()])
        typer.echo()
        show([_cells(row) for row in rows])


def _scores(truth: Labels, labels: Labels) -> dict[str, Any]:
    """The accuracy, its interval, and the number of images."""
    return accuracy(int((labels == truth).sum()), len(truth))


def _parts(truth: Labels) -> dict[str, NDArray[np.bool_]]:
    """The test images that count: all, those without a near-duplicate, those whose label is not doubtful."""
    return {
        "all": np.ones(len(truth), bool),
        "without near-duplicates": ~read_near(truth),
        "without doubtful labels": ~read_doubtful(truth),
    }


def _row(
    model: str, accuracy: float, test: Paired, of_classes: Mapping[int, Paired], classes: Sequence[str]
) -> dict[str, Any]:
    """The paired tests against one network; a class is gained or lost if its recall differs by more than noise."""
    differ = {classes[one]: paired.gain for one, paired in of_classes.items() if paired.p < LEVEL}
    return {
        "model": model,
        "accuracy": accuracy,
        "gain": test.gain,
        "fixed": test.fixed,
        "broken": test.broken,
        "p": test.p,
        "gained": [name for name, gain in differ.items() if gain > 0],
        "lost": [name for name, gain in differ.items() if gain < 0],
    }


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many networks are significantly better or worse, in a sentence."""
    clear = [row["gain"] for row in rows if row["p"] < LEVEL]
    better, worse = sum(gain > 0 for gain in clear), sum(gain < 0 for gain in clear)
    return (
        f"better than {better} of {len(rows)} networks, worse than {worse}, and not significantly different from "
        f"{len(rows) - len(clear)} (McNemar's tests at {LEVEL:.0%}, Holm-corrected)"
    )


def _share(scores: Mapping[str, Any]) -> dict[str, str | int]:
    low, high = scores["interval"]
    interval = f"{low:.2%} to {high:.2%}"
    return {"images": scores["images"], "accuracy": f"{scores['accuracy']:.2%}", "95 % interval": interval}


def _cells(row: Mapping[str, Any]) -> dict[str, str | int]:
    """A row as text."""
    return {
        "network, first seed": row["model"],
        "accuracy": f"{row['accuracy']:.2%}",
        "points": f"{100 * row['gain']:+.2f}",
        "fixed": row["fixed"],
        "broken": row["broken"],
        "p": p_value(row["p"]),
        "classes gained": ", ".join(row["gained"]),
        "classes lost": ", ".join(row["lost"]),
    }


def _markdown(found: Mapping[str, Any]) -> str:
    parts = [{"test images": part, **_share(scores)} for part, scores in found["parts"].items()]
    tables = [
        markdown.table([*rows[0]], [[*map(str, row.values())] for row in rows], right=range(1, 6))
        for rows in (parts, [_cells(row) for row in found["rows"]])
    ]
    return "\n\n".join([f"### {found['name'].replace('|', ' ')}", f"It is {found['verdict']}.", *tables])


def _decided(truth: Labels, theirs: Labels, labels: Labels) -> dict[str, list[int]]:
    """The test images that only the file gets right, and those that only the network gets right."""
    right, was = labels == truth, theirs == truth
    return {"fixed": np.flatnonzero(right & ~was).tolist(), "broken": np.flatnonzero(was & ~right).tolist()}


def _page(
    found: Mapping[str, Any],
    truth: Labels,
    predicted: Mapping[str, Labels],
    labels: Labels,
    classes: Sequence[str],
) -> str:
    with made_by("download"):
        images = read_idx(Path("data/raw", FILES["test"][0]), 3)
    if len(images) != len(truth):
        raise FashionError("data/raw has other test images than the predictions are of: run dvc repro models/dvc.yaml.")
    right = np.stack([theirs == truth for theirs in predicted.values()]).sum(0)
    mine = labels == truth
    # First those on which the file differs from the most networks.
    won = [int(i) for i in np.argsort(right, kind="stable") if mine[i] and 2 * right[i] < len(predicted)]
    lost = [int(i) for i in np.argsort(-right, kind="stable") if not mine[i] and 2 * right[i] > len(predicted)]
    return render(
        "compare.html",
        **found,
        networks=len(predicted),
        level=LEVEL,
        won=[_tile(images, i, truth, labels, int(right[i]), classes) for i in won[:SHOWN]],
        lost=[_tile(images, i, truth, labels, int(right[i]), classes) for i in lost[:SHOWN]],
    )


def _tile(
    images: NDArray[np.uint8], index: int, truth: Labels, labels: Labels, right: int, classes: Sequence[str]
) -> dict[str, Any]:
    return {
        "index": index,
        "image": charts.sheet(255 - images[[index]], 1),
        "truth": classes[truth[index]],
        "prediction": classes[labels[index]],
        "right": right,
    }
