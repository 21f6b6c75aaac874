"""Predicted labels from a file that anyone made."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from fashion.data.datasets import CLASS_COUNT
from fashion.data.reading import Labels
from fashion.errors import FashionError

# Columns of a table with a header, in any case: the predicted labels, and the true ones, which are compared.
PREDICTED, TRUTH = ("prediction", "label"), "truth"
EXPECTED = f"expected labels from 0 to {CLASS_COUNT - 1}, or a score for each of the {CLASS_COUNT} classes"
# Labels are refused if shuffled ones would have as many right with a higher probability than this.
CHANCE = 1e-6


def read_labels(path: Path, truth: Labels) -> Labels:
    """The predicted label of each test image, from NumPy's .npy or from a CSV file with or without a header.

    The values are labels or, in ten columns, scores of the classes, of which the largest counts. Of a table with a
    header only the column `prediction` or `label` is read, if it has one. A column that numbers the images says in what
    order the rows are. truth: the true labels, in the order of the test images.
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
    """The values in the column with the labels or, if none is called so, in all columns that may have values."""
    table = _in_order(path, _cells(path, len(truth)))
    is_truth = table.columns == TRUTH
    if not all(np.array_equal(column, truth) for column in _numbers(table.loc[:, is_truth]).T):
        raise FashionError(f"{path} has other true labels than the test images, or in another order.")
    rest = table.loc[:, ~is_truth]
    named = rest.loc[:, rest.columns.isin(PREDICTED)]
    if named.shape[1] > 1 or (named.shape[1] and rest.shape[1] == 1 + CLASS_COUNT):
        columns = ", ".join(map(repr, rest.columns))
        raise FashionError(f"{path} has more than one prediction for each image ({columns}): keep one of them.")
    values = named if named.shape[1] else rest
    numbers = _numbers(values)
    wrong = np.argwhere(np.isnan(numbers))
    if len(wrong):
        row, column = wrong[0]
        raise FashionError(f"{path} has {values.iloc[row, column]!r} for image {row}, not a number: {EXPECTED}.")
    return numbers


def _cells(path: Path, count: int) -> pd.DataFrame:
    """A table's cells as text, in columns with the names in its header, if it has one; count: of test images."""
    try:
        table = pd.read_csv(path, header=None, dtype=str, na_filter=False, skip_blank_lines=True)
    except ValueError as error:
        raise FashionError(f"{path} is not a CSV file ({str(error).strip()}): {EXPECTED}.") from None
    first = _numbers(table[:1])[0]
    # pandas calls columns that have no name 0, 1, ..., and writes these numbers as a header.
    if np.isnan(first).any() or (len(table) == count + 1 and np.array_equal(first, range(len(first)))):
        table = table[1:].set_axis(table.iloc[0].str.strip().str.casefold(), axis="columns")
    return table


def _in_order(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table in the order of the column that numbers the images, if it has one, and without this column."""
    numbers = _numbers(table)
    ordered = np.sort(numbers, axis=0)
    # From 0 on, from 1 on as at Kaggle, or from 60,000 on as in a table that had the training images too.
    is_number = (ordered == ordered[:1] + np.arange(len(table))[:, None]).all(0)
    order = numbers[:, is_number].argsort(0)
    if (order != order[:, :1]).any():
        raise FashionError(f"{path} has two columns that number the images, each in another order: keep one of them.")
    values: pd.DataFrame = table.loc[:, ~is_number]
    return values.iloc[order[:, 0]] if is_number.any() else values


def _numbers(table: pd.DataFrame) -> NDArray[np.float64]:
    """A table's cells as numbers; NaN for any other text."""
    numbers: NDArray[np.float64] = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return numbers


def _check_order(path: Path, labels: Labels, truth: Labels) -> None:
    """Raise FashionError if the labels are right no more often than by chance."""
    right = int((labels == truth).sum())
    chance = float((np.bincount(labels, minlength=CLASS_COUNT) * np.bincount(truth, minlength=CLASS_COUNT)).sum())
    if binomtest(right, len(truth), chance / len(truth) ** 2, alternative="greater").pvalue > CHANCE:
        raise FashionError(
            f"{path} has {right / len(truth):.1%} right labels, as many as by chance: "
            "expected a label for each test image, in the order of the test images."
        )
