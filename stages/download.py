"""Stage download: the data set's four files."""

import os
from pathlib import Path

import typer


def download() -> None:
    """Copy or fetch the data set from the first source that has it right; files already here and right are kept.

    Fashion-MNIST is in this repository; FASHION_MNIST_MIRROR names a folder or URL to try first.
    Example: FASHION_MNIST_MIRROR=~/fashion-mnist python -m stages download
    """
    from fashion.fetching import MIRROR, fetch
    from fashion.params import Params

    for line in fetch(Params.load().data.dataset, Path("data/raw"), os.environ.get(MIRROR)):
        typer.echo(line)
