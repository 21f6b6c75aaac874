"""Stage samples: a picture of the data set."""

from pathlib import Path

from fashion.data.datasets import DATASETS
from fashion.data.reading import read_part
from fashion.files import write_bytes
from fashion.settings.params import Params
from fashion.showing import charts


def samples() -> None:
    """Draw plots/samples.png."""
    part = read_part(Path("data/raw"), "train")
    classes = DATASETS[Params.load().data.dataset].classes
    write_bytes(Path("plots/samples.png"), charts.samples(part.images, part.labels, classes))
