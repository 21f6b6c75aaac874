"""Stage split: which training images train and which validate."""

from pathlib import Path

import typer


def split() -> None:
    """Draw every split of params.yaml and write its manifest: index, label, part.

    Example: python -m stages split
    """
    from fashion import splitting
    from fashion.data import read_part
    from fashion.files import write_csv
    from fashion.params import Params

    splits = Params.load().splits
    labels = read_part(Path("data/raw"), "train").labels
    manifests = {key: splitting.split(labels, **counts.model_dump()) for key, counts in splits.items()}
    for key, manifest in manifests.items():
        write_csv(Path(f"data/splits/{key}.csv"), manifest)
        counted = (f"{count:,} {part}" for part, count in manifest["part"].value_counts().items())
        typer.echo(f"{key}: " + ", ".join(counted))
