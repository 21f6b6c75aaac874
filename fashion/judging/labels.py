"""Predicted labels from a file that anyone made."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from fashion.data.datasets import CLASS_COUNT
from fashion.data.reading import Labels
from fashion.errors import FashionError

# Columns of a table with a header: the predicted labels, and the true ones, which are compared.
PREDICTION, TRUTH = "prediction", "truth"
EXPECTED = f"expected labels from 0 to {CLASS_COUNT - 1}, or a score for each of the {CLASS_COUNT} classes"
# Labels are refused if shuffled ones would have as many right with a higher probability than this.
CHANCE = 1e-6


def read_labels(path: Path, truth: Labels) -> Labels:
    """The predicted label of each test image, from NumPy's .npy or from a CSV file with or without a header.

    The values are labels or, in ten columns, scores of the classes, of which the largest counts. Of a table with a
    header only the column `prediction` is read, if it has one. truth: the true labels, in the order of the test images.
    Raises FashionError, which says what was found and what was expected.
    """
    if not path.is_file():
        raise FashionError(f"{path} is not here, or not a file.")
    values = _array(path) if path.suffix == ".npy" else _table(path, truth)
    if values.shape not in ((len(truth),), (len(truth), 1), (len(truth), CLASS_COUNT)):
        shape = " x ".join(f"{length:,}" for length in values.shape)
        raise FashionError(f"{path} has {shape} values, and there are {len(truth):,} test images: {EXPECTED}.")
    if not np.isfinite(values).all():
        raise FashionError(f"{path} has values that are NaN or infinite: {EXPECTED}.")
    labels = values.argmax(1) if values.shape[1:] == (CLASS_COUNT,) else values.reshape(-1)
    known = np.isin(labels, range(CLASS_COUNT))
    if not known.all():
        number = int(known.argmin())
        raise FashionError(f"{path} has the label {labels[number]:g} for image {number}: {EXPECTED}.")
    _check_order(path, labels.astype(np.int64), truth)
    return labels.astype(np.int64)


def _array(path: Path) -> NDArray[np.float64]:
    try:
        with path.open("rb") as file:
            # Unlike np.load, it reads no archives.
            return np.array(np.lib.format.read_array(file, allow_pickle=False), np.float64)
    except (ValueError, TypeError) as error:
        raise FashionError(f"{path} is not an array of numbers ({error}): {EXPECTED}.") from None


def _table(path: Path, truth: Labels) -> NDArray[np.float64]:
    try:
        table = pd.read_csv(path, header=None, dtype=str, na_filter=False, skip_blank_lines=True)
    except ValueError as error:
        raise FashionError(f"{path} is not a CSV file ({error}): {EXPECTED}.") from None
    numbers: NDArray[np.float64] = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    header = [*table.iloc[0]] if np.isnan(numbers[0]).any() else []
    rows = numbers[1:] if header else numbers
    wrong = np.argwhere(np.isnan(rows))
    if len(wrong):
        row, column = wrong[0]
        value = table.iloc[row + bool(header), column]
        raise FashionError(f"{path} has {value!r} for image {row}, not a number: {EXPECTED}.")
    if TRUTH in header and not np.array_equal(rows[:, header.index(TRUTH)], truth):
        raise FashionError(f"{path} has other true labels than the test images, or in another order.")
    return rows[:, header.index(PREDICTION)] if PREDICTION in header else rows


def _check_order(path: Path, labels: Labels, truth: Labels) -> None:
    """Raise FashionError if the labels are right no more often than by chance."""
    right = int((labels == truth).sum())
    chance = float((np.bincount(labels, minlength=CLASS_COUNT) * np.bincount(truth, minlength=CLASS_COUNT)).sum())
    if binomtest(right, len(truth), chance / len(truth) ** 2, alternative="greater").pvalue > CHANCE:
        raise FashionError(
            f"{path} has {right / len(truth):.1%} right labels, as many as by chance: "
            "expected a label for each test image, in the order of the test images."
        )
