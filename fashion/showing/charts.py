"""Charts and sheets of images, without dates and versions: equal numbers give equal bytes.

PNG is for dvc plots and README, SVG for pages, in the page's fonts and colours.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
DPI = 100
# Two of Okabe and Ito's colours: colour-blind readers can tell them apart, and so can readers of greyscale prints.
OURS, THEIRS = "#0072B2", "#D55E00"
# The width in inches of a drawing that fills the leaderboard's page: 70 rem of 16 pixels, at 96 pixels an inch.
PAGE = 70 * 16 / 96


def samples(images: Images, labels: NDArray[np.int64], classes: Sequence[str], columns: int = 20) -> bytes:
    """The first images of each class, up to three rows, next to the class's name, as PNG."""
    (tall, wide), text, gap = images.shape[1:], 120, 8
    chosen = [images[labels == number][: 3 * columns] for number in range(len(classes))]
    rows = [max(1, -(-len(tiles) // columns)) for tiles in chosen]
    # A figure's height must be positive, even without classes.
    width, height = text + columns * wide + gap, max(gap, sum(rows) * tall + len(rows) * gap)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    bottom = height
    for name, tiles, count in zip(classes, chosen, rows, strict=True):
        shown = np.zeros((count * columns, tall, wide), np.uint8)
        shown[: len(tiles)] = tiles
        grid = shown.reshape(count, columns, tall, wide).swapaxes(1, 2).reshape(count * tall, columns * wide)
        bottom -= count * tall + gap
        # Pixel for pixel, without resampling.
        figure.figimage(grid, text, bottom + gap // 2, cmap="gray_r", vmin=0, vmax=255, origin="upper")
        middle = bottom + (count * tall + gap) / 2
        figure.text((text - 2 * gap) / width, middle / height, name, ha="right", va="center")
    return _png(figure)


def mistakes(images: Images, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> bytes:
    """The worst mistakes as PNG: each image with its class and the predicted one."""
    columns = 5
    figure = Figure(figsize=(9, 2.2 * max(1, -(-len(rows) // columns))), layout="constrained", dpi=DPI)
    grid = figure.subplots(max(1, -(-len(rows) // columns)), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, row in zip(grid.flat, rows, strict=False):
        axes.imshow(images[row["index"]], cmap="gray_r")
        axes.set_title(
            f"{classes[row['truth']]}\npredicted as {classes[row['prediction']]}, {row['confidence']:.1%}", fontsize=8
        )
    return _png(figure)


def leaderboard(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Each architecture's mean test accuracy with its interval and the published figure, best on top, as PNG."""
    return _png(_ranking(rows, 9))


def ranking(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same as `leaderboard`, as SVG."""
    with _page_style():
        return _svg(_ranking(rows, PAGE))


def curves(history: pd.DataFrame, kept: int, quantity: str, label: str) -> str:
    """A quantity by epoch for training and validation, with the kept epoch marked, as SVG.

    history: the columns epoch, train_QUANTITY and validation_QUANTITY.
    """
    with _page_style():
        figure = Figure(figsize=(4.2, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.plot(history["epoch"], history[f"train_{quantity}"], "--", color=THEIRS, label="training")
        axes.plot(history["epoch"], history[f"validation_{quantity}"], color=OURS, label="validation")
        axes.axvline(kept, color="black", linewidth=0.8, linestyle=":", label=f"kept: epoch {kept}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
        return _svg(figure)


def calibration(bins: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy over mean confidence in each bin, as SVG; a point's area shows how many images the bin has."""
    with _page_style():
        figure = Figure(figsize=(3.5, 3.2), layout="constrained")
        axes = figure.subplots()
        share = np.array([row["images"] for row in bins]) / sum(row["images"] for row in bins)
        confidence, accuracy = (np.array([row[name] for row in bins]) * 100 for name in ("confidence", "accuracy"))
        axes.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
        axes.plot(confidence, accuracy, color=OURS, linewidth=0.8)
        axes.scatter(confidence, accuracy, s=12 + 400 * share, color=OURS, alpha=0.7, linewidths=0)
        axes.set_xlabel("mean confidence, %")
        axes.set_ylabel("accuracy, %")
        edge = min(*confidence, *accuracy) - 5
        axes.set_xlim(edge, 103)
        axes.set_ylim(edge, 103)
        return _svg(figure)


def against(rows: Sequence[Mapping[str, Any]], quantity: str, label: str) -> str:
    """Mean test accuracy over a quantity on a logarithmic axis, with a named point for each architecture, as SVG."""
    with _page_style():
        figure = Figure(figsize=(PAGE, 6), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        across, up = [row[quantity] for row in rows], [100 * row["seeds"]["test"]["mean"] for row in rows]
        axes.plot(across, up, "o", color=OURS, markersize=5)
        axes.set_xscale("log")
        axes.margins(0.05, 0.1)
        axes.set_xlabel(label)
        axes.set_ylabel("mean test accuracy, %")
        figure.tight_layout()
        names = [axes.text(x, y, row["model"]) for x, y, row in zip(across, up, rows, strict=True)]
        line = {"arrowstyle": "-", "color": "black", "alpha": 0.4, "linewidth": 0.6}
        # Names move until they overlap no point and no other name. A limit of steps, not of time, is repeatable.
        adjust_text(names, across, up, ax=axes, expand=(1.3, 1.6), iter_lim=500, arrowprops=line)
        return _svg(figure)


def filters(weights: NDArray[np.float32]) -> bytes:
    """A layer's weights, one tile for each output, as PNG: zero is grey, the largest weight black or white.

    weights: (outputs, height, width).
    """
    grey = np.round(127 + 127 * weights / max(float(np.abs(weights).max()), 1e-12)).astype(np.uint8)
    return sheet(grey, columns=min(len(grey), 16), gap=1, ground=127)


def sheet(tiles: Images, columns: int, gap: int = 0, ground: int = 0) -> bytes:
    """Tiles (n, height, width) in rows, with `gap` pixels of grey level `ground` around them, as PNG."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    framed = np.full((rows * columns, height + gap, width + gap), ground, np.uint8)
    framed[:count, gap:, gap:] = tiles
    joined = framed.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    buffer = io.BytesIO()
    picture = np.pad(joined.reshape(rows * (height + gap), -1), ((0, gap), (0, gap)), constant_values=ground)
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _ranking(rows: Sequence[Mapping[str, Any]], width: float) -> Figure:
    # From the bottom up; equal means keep the order of the rows.
    ranked = sorted(rows, key=lambda row: row["seeds"]["test"]["mean"], reverse=True)[::-1]
    height = np.arange(len(ranked))
    figure = Figure(figsize=(width, 1.4 + 0.36 * len(ranked)), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    tests = [row["seeds"]["test"] for row in ranked]
    values = np.array([test["mean"] for test in tests]) * 100
    # A single seed, or equal ones, have a point without a bar.
    low, high = np.array([test["interval"] or [test["mean"]] * 2 for test in tests]).T * 100
    bars, label = (values - low, high - values), "rebuilt: mean of the seeds, 95 % interval"
    axes.errorbar(values, height, xerr=bars, fmt="o", color=OURS, label=label)
    theirs = [(row["published"].get("test_accuracy"), place) for place, row in zip(height, ranked, strict=True)]
    claimed = [(value * 100, place) for value, place in theirs if value is not None]
    if claimed:
        axes.plot(*zip(*claimed, strict=True), "D", color=THEIRS, label="published")
    for value, place in zip(values.tolist(), height.tolist(), strict=True):
        axes.text(1.01, place, f"{value:.2f}", transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(height, [row["model"] for row in ranked])
    # With an axis from 0, tenths of a point would not show.
    edges = [*low, *high, *(value for value, _ in claimed)]
    axes.set_xlim(min(edges) - 0.5, max(edges) + 0.3)
    axes.set_xlabel("mean test accuracy, %")
    axes.grid(axis="x", alpha=0.3)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # By default matplotlib writes its version into the file.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _page_style() -> Iterator[None]:
    """A style in which text stays text, and ids in the file are the same every time."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fashion",
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "grid.color": "black",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        yield


def _svg(figure: Figure) -> str:
    """The figure as an element of a page, without a background, in the page's colours."""
    buffer = io.StringIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in (("#000000", "currentColor"), (OURS, "var(--accent)"), (THEIRS, "var(--other)")):
        text = text.replace(colour.lower(), name)
    # Every figure numbers its groups from 1, and a page has several figures.
    text = re.sub(r' id="(?!C\d)[\w.]+_\d+"', "", text)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
