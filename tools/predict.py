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


def predict(images: Sequence[Path], model: str | None, top: int, as_json: bool, save: Path | None) -> None:
    """Print the likeliest classes for each picture, and list those that cannot be read."""
    pictures, errors = _read(images)
    params = Params.load()
    classes = _likeliest(params.name(model or params.model), [picture for _, picture in pictures], top)
    rows = [{"file": str(file), "classes": likeliest} for (file, _), likeliest in zip(pictures, classes, strict=True)]
    if save:
        errors += _save(save, pictures)
    if as_json:
        # In ASCII, since a file's name need not be valid text.
        typer.echo(json.dumps(rows, indent=2))
    else:
        show([_flat(row) for row in rows])
    for error in errors:
        typer.echo(f"error: {printable(error)}", err=True)
    if errors:
        raise typer.Exit(1)


def _read(paths: Sequence[Path]) -> tuple[list[tuple[Path, Grey]], list[str]]:
    """The prepared picture of each file, and the errors of those that have none."""
    pictures, errors = [], []
    for file in (file for path in paths for file in files(path)):
        try:
            pictures.append((file, read(file)))
        except FashionError as error:
            errors.append(str(error))
    return pictures, errors


def _save(folder: Path, pictures: Sequence[tuple[Path, Grey]]) -> list[str]:
    """Write the prepared pictures, and return the errors of those that cannot be written."""
    errors = []
    for number, (file, picture) in enumerate(pictures, 1):
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
