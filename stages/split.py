"""Stage split: divide the training images into a training and a validation part."""

from pathlib import Path

import typer

from fashion.data import splitting
from fashion.data.reading import read_part
from fashion.errors import FashionError
from fashion.files import read_json
from fashion.frames import write_csv
from fashion.settings.description import INPUTS, Key, Split
from fashion.settings.params import PATH, UNDO


def split() -> None:
    """Write data/splits/KEY.csv for each architecture."""
    labels = read_part(Path("data/raw"), "train").labels
    manifests = {}
    for key, counts in read_json(INPUTS / "splits.json", dict[Key, Split]).items():
        try:
            manifests[key] = splitting.split(labels, **counts.model_dump())
        except FashionError as error:
            raise FashionError(f"{PATH}: the split of models.{key}: {error} {UNDO}") from None
    for key, manifest in manifests.items():
        write_csv(Path(f"data/splits/{key}.csv"), manifest)
        counted = (f"{count:,} {part}" for part, count in manifest["part"].value_counts().items())
        typer.echo(f"{key}: " + ", ".join(counted))
