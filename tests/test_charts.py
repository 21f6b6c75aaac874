"""Pictures: the same bytes for the same numbers, and the right pixels in them."""

import io
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from fashion import charts

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 28, 28), dtype=np.uint8)
LABELS = np.arange(300) % 10
NAMES = [f"class {number}" for number in range(10)]


def board(key: str, accuracy: float, **published: float) -> dict[str, Any]:
    """A row of the leaderboard."""
    interval = [accuracy - 0.006, accuracy + 0.006]
    return {"model": key, "test_accuracy": accuracy, "test_interval": interval, "published": published}


PICTURES = {
    "samples": lambda: charts.samples(IMAGES, LABELS, NAMES),
    "mistakes": lambda: charts.mistakes(IMAGES, [{"index": 3, "truth": 1, "prediction": 2, "confidence": 0.9}], NAMES),
    "no mistakes": lambda: charts.mistakes(IMAGES, [], NAMES),
    "leaderboard": lambda: charts.leaderboard([board("a", 0.9, test_accuracy=0.89), board("b", 0.91)]),
    "leaderboard of one": lambda: charts.leaderboard([board("a", 0.9)]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_the_same_bytes_again(name: str) -> None:
    """Drawn twice a picture is the same file, with no date and no version in it."""
    picture = PICTURES[name]()
    assert picture == PICTURES[name]()
    assert picture.startswith(b"\x89PNG")
    assert b"tEXt" not in picture
    assert b"tIME" not in picture


def test_samples_show_each_class_pixel_for_pixel() -> None:
    """The first image of the first class stands in the picture unscaled, inverted to black on white."""
    picture = matplotlib.image.imread(io.BytesIO(charts.samples(IMAGES, LABELS, NAMES)), format="png")
    grey = np.rint(255 - picture[..., 0] * 255).astype(np.uint8)
    shown = grey[4 : 4 + 28, 120 : 120 + 28]
    assert np.abs(shown.astype(int) - IMAGES[0]).max() <= 1
