"""Stage split: which training images train and which validate."""

from pathlib import Path

import typer


def split() -> None:
    """Draw each architecture's split and write its manifest: index, label, part.

    Example: python -m stages split
    """
    from fashion import FashionError, splitting
    from fashion.data import read_part
    from fashion.files import read_json, write_csv
    from fashion.params import PATH, UNDO

    labels = read_part(Path("data/raw"), "train").labels
    manifests = {}
    for key, counts in read_json(Path("data/inputs/splits.json")).items():
        try:
            manifests[key] = splitting.split(labels, **counts)
        except FashionError as error:
            raise FashionError(f"{PATH}: the split of models.{key}: {error} {UNDO}") from None
    for key, manifest in manifests.items():
        write_csv(Path(f"data/splits/{key}.csv"), manifest)
        counted = (f"{count:,} {part}" for part, count in manifest["part"].value_counts().items())
        typer.echo(f"{key}: " + ", ".join(counted))
