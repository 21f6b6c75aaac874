"""Pictures: equal numbers give equal bytes, and the pixels are correct."""

import io
import re
from collections.abc import Callable
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from fashion.showing import charts

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 28, 28), dtype=np.uint8)
LABELS = np.arange(300) % 10
NAMES = [f"class {number}" for number in range(10)]
MISTAKE = {"index": 3, "truth": 1, "prediction": 2, "confidence": 0.9}


def board(key: str, mean: float, low: float = 0.85, high: float = 0.95, **published: float) -> dict[str, Any]:
    """A row of the leaderboard, whose first seed has another accuracy than the mean."""
    seeds = {"test": {"mean": mean, "interval": [low, high]}}
    return {"model": key, "test_accuracy": 0.5, "test_interval": [0.4, 0.6], "seeds": seeds, "published": published}


def single(key: str, accuracy: float) -> dict[str, Any]:
    """A row with one seed."""
    return board(key, accuracy) | {"seeds": {"test": {"mean": accuracy, "interval": None}}}


PICTURES = {
    "samples": lambda: charts.samples(IMAGES, LABELS, NAMES),
    "mistakes": lambda: charts.mistakes(IMAGES, [MISTAKE], NAMES),
    "no mistakes": lambda: charts.mistakes(IMAGES, [], NAMES),
    "leaderboard": lambda: charts.leaderboard([board("a", 0.9, test_accuracy=0.89), board("b", 0.91)]),
    "leaderboard of one": lambda: charts.leaderboard([single("a", 0.9)]),
}
HISTORY = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "validation_loss": [1.5, 1.2]})
BINS = [{"confidence": 0.5, "accuracy": 0.4, "images": 3}, {"confidence": 0.99, "accuracy": 0.98, "images": 97}]
DRAWINGS = {
    "curves": lambda: charts.curves(HISTORY, 2, "loss", "nats"),
    "calibration": lambda: charts.calibration(BINS),
    "against": lambda: charts.against([board("a", 0.9) | {"parameters": 9}], "parameters", "parameters"),
    "ranking": lambda: charts.ranking([board("a", 0.9, test_accuracy=0.89), board("b", 0.91)]),
}


@pytest.mark.parametrize("draw", [*PICTURES.values(), *DRAWINGS.values()], ids=[*PICTURES, *DRAWINGS])
def test_charts_drawn_twice_are_the_same(draw: Callable[[], bytes | str]) -> None:
    """Drawn twice, a chart is the same, without a date or a version; a drawing has the page's colours."""
    chart = draw()
    assert chart == draw()
    if isinstance(chart, bytes):
        assert chart.startswith(b"\x89PNG")
        assert not re.search(b"tEXt|tIME", chart)
    else:
        assert ElementTree.fromstring(chart).tag.endswith("svg")  # noqa: S314 - our own
        assert "var(--accent)" in chart
        assert "currentColor" in chart
        assert not re.search(r"#0072b2|#d55e00|#000000|Matplotlib|20\d\d-|metadata", chart)


def test_samples_have_as_many_rows_as_needed() -> None:
    """A class of 100 images has three rows, the maximum, a class of 21 has two and an empty one has one."""
    labels = np.repeat([0, 1, 3], [100, 21, 179])
    picture = Image.open(io.BytesIO(charts.samples(IMAGES, labels, NAMES[:3])))
    assert picture.height == (3 + 2 + 1) * 28 + 3 * 8
    assert Image.open(io.BytesIO(charts.samples(IMAGES, labels, []))).height == 8


def test_points_and_error_bars_are_those_of_the_mean() -> None:
    """On the drawing of the ranking, means and the ends of their intervals are in place; one seed has a point alone."""
    rows = [board("a", 0.9, 0.85, 0.91), board("b", 0.92, 0.9, 0.98), single("c", 0.93)]
    (axes,) = charts._ranking(rows, 9).axes
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == pytest.approx([90.0, 92.0, 93.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    bars = next(line.get_segments() for line in axes.collections if isinstance(line, LineCollection))
    ends = sorted(one[:, 0].round(6).tolist() for one in map(np.asarray, bars))
    assert ends == [[85.0, 91.0], [90.0, 98.0], [93.0, 93.0]]


def test_drawings_share_no_ids() -> None:
    """The clip paths of two drawings have different ids, so that one page can contain both drawings."""
    one, other = (set(re.findall('<clipPath id="(.*?)"', DRAWINGS[name]())) for name in ("curves", "calibration"))
    assert one
    assert other
    assert not one & other


def test_names_of_close_points_do_not_overlap() -> None:
    """The names of six networks of equal size and accuracy are at least 8 points apart vertically or 40 sideways."""
    rows = [board(f"network_{number}", 0.93) | {"parameters": 1000} for number in range(6)]
    places = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>network_', charts.against(rows, "parameters", "parameters"))
    assert len(places) == 6
    for one, other in combinations(np.array(places, float), 2):
        assert (np.abs(one - other) >= (40, 8)).any()


def test_a_sheet_shows_tiles_pixel_for_pixel() -> None:
    """Three tiles in two columns are copied unscaled, with one pixel of background around each."""
    tiles = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2) + 10
    picture = np.asarray(Image.open(io.BytesIO(charts.sheet(tiles, columns=2, gap=1, ground=5))))
    expected = np.full((7, 7), 5)
    for tile, (row, column) in zip(tiles, [(1, 1), (1, 4), (4, 1)], strict=True):
        expected[row : row + 2, column : column + 2] = tile
    assert np.array_equal(picture, expected)


def test_filters_are_grey_where_they_are_zero() -> None:
    """The largest weight is white, its negative is black, and zero is grey."""
    weights = np.array([[[2.0, -2.0], [0.0, 1.0]]], np.float32)
    picture = np.asarray(Image.open(io.BytesIO(charts.filters(weights))))
    assert picture[1:3, 1:3].tolist() == [[254, 0], [127, 190]]


def test_samples_show_each_class_pixel_for_pixel() -> None:
    """Each class has its rows, in which its first image appears unscaled, inverted to black on white."""
    picture = 255 - np.asarray(Image.open(io.BytesIO(charts.samples(IMAGES, LABELS, NAMES))).convert("L"))
    for row, image in zip(np.split(picture, len(NAMES)), IMAGES, strict=False):
        assert np.abs(row[4 : 4 + 28, 120 : 120 + 28].astype(int) - image).max() <= 1


def test_a_mistake_is_shown_with_its_own_image() -> None:
    """The picture of mistakes depends on the image with the mistake's index, and on no other."""
    same = PICTURES["mistakes"]()
    for number in (1, 2, 3):
        images = IMAGES.copy()
        images[number] = 255 - images[number]
        assert (charts.mistakes(images, [MISTAKE], NAMES) == same) == (number != 3)
