"""Stage split: which training images train and which validate."""

from pathlib import Path
from typing import Annotated

import typer


def split(key: Annotated[str, typer.Argument(help="A key of `splits`.")]) -> None:
    """Draw a named split and write its manifest: index, label, part.

    Example: python -m stages split holdout_6k
    """
    from fashion import FashionError, did_you_mean, splitting
    from fashion.data import read_part
    from fashion.files import write_csv
    from fashion.params import Params

    splits = Params.load().splits
    if key not in splits:
        raise FashionError(f"there is no split {key!r}: {did_you_mean(key, splits)}")
    labels = read_part(Path("data/raw"), "train").labels
    manifest = splitting.split(labels, **splits[key].model_dump())
    write_csv(Path(f"data/splits/{key}.csv"), manifest)
    typer.echo(f"{key}: " + ", ".join(f"{count:,} {part}" for part, count in manifest["part"].value_counts().items()))
