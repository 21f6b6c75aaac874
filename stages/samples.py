"""Stage samples: a picture of what is in the data set."""

from pathlib import Path


def samples() -> None:
    """Draw three rows of training images of each class: plots/samples.png.

    Example: python -m stages samples
    """
    from fashion import charts
    from fashion.data import CLASSES, read_part
    from fashion.files import write_bytes
    from fashion.params import Params

    part = read_part(Path("data/raw"), "train")
    picture = charts.samples(part.images, part.labels, CLASSES[Params.load().data.dataset])
    write_bytes(Path("plots/samples.png"), picture)
