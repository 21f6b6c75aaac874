"""Pictures, the same bytes for the same numbers: no date and no version in them."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Images = NDArray[np.uint8]
DPI = 100
# Two of Okabe and Ito's colours, told apart by colour-blind readers and in grey.
OURS, THEIRS = "#0072B2", "#D55E00"


def samples(images: Images, labels: NDArray[np.int64], classes: Sequence[str], columns: int = 20) -> bytes:
    """Three rows of the first images of each class, the class's name beside them, as PNG."""
    rows, side, text, gap = 3, images.shape[1], 120, 8
    band = rows * side + gap
    width, height = text + columns * side + gap, len(classes) * band
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for number, name in enumerate(classes):
        chosen = images[labels == number][: rows * columns]
        sheet = np.zeros((rows * columns, side, side), np.uint8)
        sheet[: len(chosen)] = chosen
        grid = sheet.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
        bottom = height - (number + 1) * band + gap // 2
        # One pixel for one pixel, nothing resampled.
        figure.figimage(grid, text, bottom, cmap="gray_r", vmin=0, vmax=255, origin="upper")
        figure.text((text - 2 * gap) / width, (bottom + rows * side / 2) / height, name, ha="right", va="center")
    return _png(figure)


def mistakes(images: Images, rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> bytes:
    """The worst mistakes, each image over what it is and what it was taken for, as PNG."""
    columns = 5
    figure = Figure(figsize=(9, 2.2 * max(1, -(-len(rows) // columns))), layout="constrained", dpi=DPI)
    grid = figure.subplots(max(1, -(-len(rows) // columns)), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, row in zip(grid.flat, rows, strict=False):
        axes.imshow(images[row["index"]], cmap="gray_r")
        axes.set_title(
            f"{classes[row['truth']]}\ntaken for {classes[row['prediction']]}, {row['confidence']:.1%}", fontsize=8
        )
    return _png(figure)


def leaderboard(rows: Sequence[dict[str, Any]]) -> bytes:
    """Test accuracy of each architecture with its interval, the published figure beside it, best on top, as PNG."""
    ranked = sorted(rows, key=lambda row: row["test_accuracy"])
    height = np.arange(len(ranked))
    figure = Figure(figsize=(9, 1.4 + 0.36 * len(ranked)), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    values = np.array([row["test_accuracy"] for row in ranked]) * 100
    low, high = np.array([row["test_interval"] for row in ranked]).T * 100
    axes.barh(height, values, color=OURS, alpha=0.2)
    axes.errorbar(
        values, height, xerr=(values - low, high - values), fmt="o", color=OURS, label="rebuilt, 95 % interval"
    )
    theirs = [(row["published"].get("test_accuracy"), place) for place, row in zip(height, ranked, strict=True)]
    claimed = [(value * 100, place) for value, place in theirs if value is not None]
    if claimed:
        axes.plot(*zip(*claimed, strict=True), "D", color=THEIRS, label="published")
    for value, place in zip(values.tolist(), height.tolist(), strict=True):
        axes.text(1.01, place, f"{value:.2f}", transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(height, [row["model"] for row in ranked])
    # From 0 on, tenths of a point would not show.
    edges = [*low, *high, *(value for value, _ in claimed)]
    axes.set_xlim(min(edges) - 0.5, max(edges) + 0.3)
    axes.set_xlabel("test accuracy, %")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # matplotlib would write its version into the file.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
