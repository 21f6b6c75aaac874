"""Tool predict: a trained network's predictions for pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from fashion.data.datasets import SIDE
from fashion.errors import FashionError, printable
from fashion.files import write_bytes
from fashion.networks.inference import finite_logits
from fashion.settings.params import Params
from fashion.showing.tables import show
from fashion.using.loading import trained
from fashion.using.pictures import Grey, files, png, read

# A file, what the network sees of it, and what made it hard to read.
Picture = tuple[Path, Grey, list[str]]
# How many of the skipped files are named.
NAMED = 5


def predict(images: Sequence[Path], model: str | None, top: int, as_json: bool, save: Path | None) -> None:
    """Print the likeliest classes for each picture, and what made it hard; list what cannot be read or is skipped."""
    listed = [(path, *files(path)) for path in images]
    pictures, errors = _read([file for _, found, _ in listed for file in found])
    params = Params.load()
    classes = _likeliest(params.name(model or params.model), [picture for _, picture, _ in pictures], top)
    rows: list[dict[str, Any]] = [
        {"file": str(file), "classes": likeliest, "hard": hard}
        for (file, _, hard), likeliest in zip(pictures, classes, strict=True)
    ]
    if save:
        errors += _save(save, pictures)
    if as_json:
        # In ASCII, since a file's name need not be valid text.
        typer.echo(json.dumps(rows, indent=2))
    else:
        hard = any(row["hard"] for row in rows)
        show([_flat(row) | ({"hard": ", ".join(row["hard"])} if hard else {}) for row in rows])
    for path, _, skipped in listed:
        if skipped:
            names = ", ".join(file.name for file in skipped[:NAMED]) + ", ..." * (len(skipped) > NAMED)
            typer.echo(
                printable(f"skipped {len(skipped):,} files of {path} without a supported format: {names}"), err=True
            )
    for error in errors:
        typer.echo(f"error: {printable(error)}", err=True)
    if errors:
        raise typer.Exit(1)


def _read(paths: Sequence[Path]) -> tuple[list[Picture], list[str]]:
    """The prepared picture of each file, and the errors of those that have none."""
    pictures, errors = [], []
    for file in paths:
        try:
            pictures.append((file, *read(file)))
        except FashionError as error:
            errors.append(str(error))
    return pictures, errors


def _save(folder: Path, pictures: Sequence[Picture]) -> list[str]:
    """Write the prepared pictures, and return the errors of those that cannot be written."""
    errors = []
    for number, (file, picture, _) in enumerate(pictures, 1):
        # Numbered, since files in several folders may have the same name, and none may replace a photo. Shortened,
        # since a name with the number, the ending and a temporary file's letters must fit into 255 bytes.
        path = folder / f"{number:0{len(str(len(pictures)))}}-{file.stem[:50]}.png"
        try:
            write_bytes(path, png(picture))
        except FashionError as error:
            errors.append(str(error))
    return errors


def _likeliest(name: str, pictures: Sequence[Grey], top: int) -> list[list[dict[str, Any]]]:
    """The likeliest classes of each picture, the likeliest first."""
    network, description, header = trained(name)
    # One thread computes a batch everywhere else, too, so that the number of cores changes no bit.
    torch.set_num_threads(1)
    names = header["classes"]
    # The shape is right for an empty list too.
    images = np.array(pictures, np.uint8).reshape(-1, SIDE, SIDE)
    best = torch.softmax(finite_logits(network, images, description.architecture.pixels).double(), 1).topk(top)
    return [
        [
            {"label": label, "name": names[label], "probability": round(value, 6)}
            for label, value in zip(*one, strict=True)
        ]
        for one in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _flat(row: dict[str, Any]) -> dict[str, str | int]:
    """A row of the table: the file, and a column for each of its likeliest classes."""
    places = enumerate(row["classes"], 1)
    return {"file": row["file"]} | {f"{n}.": f"{one['name']} {one['probability']:.2%}" for n, one in places}
