"""Stage download: the data set's four files, and a picture of what is in them."""

import os
from pathlib import Path

import typer


def download() -> None:
    """Fetch the data set from the first source that has it right; files already here and right are kept.

    FASHION_MNIST_MIRROR names a folder or URL to try first.
    Example: FASHION_MNIST_MIRROR=~/fashion-mnist python -m stages download
    """
    from fashion.charts import samples
    from fashion.data import CLASSES, read_part
    from fashion.fetching import MIRROR, fetch
    from fashion.files import write_bytes
    from fashion.params import Params

    dataset = Params.load().data.dataset
    folder = Path("data/raw")
    for line in fetch(dataset, folder, os.environ.get(MIRROR)):
        typer.echo(line)
    part = read_part(folder, "train")
    write_bytes(Path("plots/samples.png"), samples(part.images, part.labels, CLASSES[dataset]))
