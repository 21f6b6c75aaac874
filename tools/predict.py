"""Tool predict: what a trained network takes pictures for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fashion.pictures import Grey


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders, without what is in their folders.")],
    model: Annotated[str | None, typer.Option(help="A key of `models` instead of the one that `model` names.")] = None,
    top: Annotated[int, typer.Option(min=1, max=10, help="How many classes to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects instead of a table.")] = False,
    save: Annotated[Path | None, typer.Option(help="A folder for the 28x28 pictures that the network sees.")] = None,
) -> None:
    """Show the likeliest classes of the item in each picture, one item on a plain background.

    Files that cannot be read are named at the end, and the exit code is then 1.
    Example: python -m tools predict photo.jpg pictures/ --model cnn
    """
    from fashion.files import write_bytes
    from fashion.params import Params
    from fashion.pictures import png
    from fashion.tables import printable, show

    pictures, errors = _read(images)
    classes = _likeliest(model or Params.load().model, [picture for _, picture in pictures], top)
    rows = [{"file": str(file), "classes": likeliest} for (file, _), likeliest in zip(pictures, classes, strict=True)]
    if save:
        for number, (file, picture) in enumerate(pictures, 1):
            # Numbered: names of several folders may be the same, and none may take a photo's place.
            write_bytes(save / f"{number:0{len(str(len(pictures)))}}-{file.stem}.png", png(picture))
    if as_json:
        # In ASCII: a file's name need not be text.
        typer.echo(json.dumps(rows, indent=2))
    else:
        show([_flat(row) for row in rows])
    for error in errors:
        typer.echo(f"error: {printable(error)}", err=True)
    if errors:
        raise typer.Exit(1)


def _read(paths: Sequence[Path]) -> "tuple[list[tuple[Path, Grey]], list[str]]":
    """The prepared picture of each file, and why others have none."""
    from fashion import FashionError
    from fashion.pictures import files, read

    pictures, errors = [], []
    for file in (file for path in paths for file in files(path)):
        try:
            pictures.append((file, read(file)))
        except FashionError as error:
            errors.append(str(error))
    return pictures, errors


def _likeliest(key: str, pictures: "Sequence[Grey]", top: int) -> list[list[dict[str, Any]]]:
    """The likeliest classes of each picture, the likeliest first."""
    import numpy as np
    import torch

    from fashion.data import SIDE
    from fashion.inference import class_names, trained
    from fashion.networks import load
    from fashion.predictions import finite_logits

    path = trained(key)
    network, description, header = load(path)
    names = class_names(header, path)
    # Also of no pictures at all.
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
    """A row of the table: the file, and a column for each of its classes."""
    places = enumerate(row["classes"], 1)
    return {"file": row["file"]} | {f"{n}.": f"{one['name']} {one['probability']:.2%}" for n, one in places}
