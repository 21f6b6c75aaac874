"""Stage download: the data set's four files."""

import os
from pathlib import Path

import typer

from fashion.data.fetching import MIRROR, fetch
from fashion.settings.params import Params


def download() -> None:
    """Put the data set's four files into data/raw."""
    for line in fetch(Params.load().data.dataset, Path("data/raw"), os.environ.get(MIRROR)):
        typer.echo(line)
