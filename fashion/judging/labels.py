"""Predicted labels from a file that anyone made."""

import csv
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from fashion.data.datasets import CLASS_COUNT
from fashion.data.reading import Labels
from fashion.errors import FashionError

# Columns of a table with a header, in any case: the predicted labels, and the true ones, which are compared.
PREDICTED, TRUTH = ("prediction", "label"), "truth"
EXPECTED = (
    f"expected labels from 0 to {CLASS_COUNT - 1} or names of classes, alone or in a column called "
    f"{' or '.join(PREDICTED)}, or a score such as 0.5 for each of the {CLASS_COUNT} classes"
)
# The largest file that is read, in bytes. Ten scores with 20 digits for each of 10,000 images take 2.5 million.
LARGEST = 2**23
# Labels are refused if shuffled ones would have as many right with a higher probability than this.
CHANCE = 1e-6
# Labels are refused if this share more of them would be right with other numbers for the classes. Weak classifiers (28,
# 20 % to 72 % right) gain at most 0.07; two classes that are exchanged gain 0.18 at 90 % right.
GAIN = 0.1


def read_labels(path: Path, truth: Labels, classes: Sequence[str]) -> Labels:
    """The predicted label of each test image, from a table as text, NumPy's .npy or .npz, or a list in JSON.

    The values are labels, names of classes or, in ten columns, scores of the classes, of which the largest counts. Of a
    table with a header only the column `prediction` or `label` is read, if it has one. A column that numbers the images
    says in what order the rows are, and the names of ten columns the order of the classes. truth: the true labels, in
    the order of the test images. classes: the names, in the order of the labels.
    Raises FashionError, which says what was found and what was expected.
    """
    # Also the start of T-shirt/top. Names that are numbers are read as these.
    words = {label: name for label, name in enumerate(classes) if not name.isdigit()}
    known = {_folded(part): label for label, name in words.items() for part in (name, name.split("/")[0])}
    table = _in_order(path, _table(path, len(truth), known), known)
    is_truth = table.columns == TRUTH
    if not all(np.array_equal(column, truth) for column in _numbers(table.loc[:, is_truth], known).T):
        raise FashionError(f"{path} has other true labels than the test images, or in another order.")
    values = _values(path, table.loc[:, ~is_truth], known)
    numbers = _numbers(values, known)
    # Of labels, those that no class has are wrong; of scores, only what is no number.
    wrong = np.argwhere(np.isnan(numbers) if numbers.shape[1] > 1 else ~np.isin(numbers, range(CLASS_COUNT)))
    if len(wrong):
        row, column = wrong[0]
        raise FashionError(f"{path} has {values.iloc[row, column]!r} for image {row}: {EXPECTED}.")
    labels: Labels = numbers.argmax(1) if numbers.shape[1] > 1 else numbers[:, 0].astype(np.int64)
    _check_classes(path, labels, truth, classes)
    _check_order(path, labels, truth)
    return labels


def _table(path: Path, count: int, known: Mapping[str, int]) -> pd.DataFrame:
    """A file's values as text, a row for each of `count` images, in columns with the names in its header, if any."""
    rows = _rows(path)
    if not rows:
        raise FashionError(f"{path} is empty: {EXPECTED}.")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            found = f"{len(row):,} values in row {number + 1:,} and {len(rows[0]):,} in the first"
            raise FashionError(f"{path} has {found}: {EXPECTED}.")
    if len(rows[0]) >= count > len(rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    first = [_number(cell, known) for cell in rows[0]]
    texts = [cell for cell, number in zip(rows[0], first, strict=True) if math.isnan(number)]
    # The numbers of columns, which pandas writes, and ten names of classes are a header if they are a row too many.
    header = bool(texts) or (len(rows) == count + 1 and sorted(first) == [*range(len(first))])
    if len(rows) - header != count:
        below = f" below the header {texts[0]!r}" if texts else ""
        found = f"{len(rows) - header:,} x {len(first):,} values{below}"
        raise FashionError(f"{path} has {found}, and there are {count:,} test images: {EXPECTED}.")
    names = [*map(_folded, rows[0])] if header else range(len(first))
    return pd.DataFrame(rows[header:], columns=names, dtype=object)


def _rows(path: Path) -> list[list[str]]:
    """The rows of a file, as text; those of a list have one value each."""
    if not path.is_file():
        raise FashionError(f"{path} is not here, or not a file.")
    try:
        _check_size(path.stat().st_size)
        match path.suffix.casefold():
            case ".npy" | ".npz":
                values = _array(path).tolist()
            case ".json":
                values = json.loads(path.read_bytes())
            case _:
                return _cells(path.read_text("utf-8-sig"))
        if not isinstance(values, list):
            raise ValueError("it is no list")
        return [[*map(str, row)] if isinstance(row, list) else [str(row)] for row in values]
    except Exception as error:  # noqa: BLE001 - NumPy, zipfile and json raise a dozen kinds for damaged bytes
        raise FashionError(f"{path} cannot be read ({error}): {EXPECTED}.") from None


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"its size is {size:,}, and {LARGEST:,} is the limit")


def _array(path: Path) -> NDArray[Any]:
    """NumPy's array in a file, or the only one in an archive; nothing is unpickled."""
    with ExitStack() as files:
        file: IO[bytes] = files.enter_context(path.open("rb"))
        if path.suffix.casefold() == ".npz":
            archive = files.enter_context(zipfile.ZipFile(file))
            members = archive.infolist()
            if len(members) != 1:
                raise ValueError(f"it has {len(members)} arrays in place of one")
            _check_size(members[0].file_size)
            file = files.enter_context(archive.open(members[0]))
        array = np.lib.format.read_array(file, allow_pickle=False)
    # As text a value takes 8 bytes or more, even one without bytes; rows without values can be any number.
    _check_size(8 * max((array.size, *array.shape)))
    return array


def _cells(text: str) -> list[list[str]]:
    """The cells of a table with tabs, semicolons, commas or, between numbers, spaces."""
    lines = [line.strip(" ") for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    first, last = lines[0], lines[-1].split()
    # Names of classes have spaces too.
    spaces = len(last) > 1 and not any(math.isnan(_number(cell, {})) for cell in last)
    separator = next((mark for mark in "\t;," if mark in first), " " if spaces else ",")
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows]


def _in_order(path: Path, table: pd.DataFrame, known: Mapping[str, int]) -> pd.DataFrame:
    """A table in the order of the column that numbers the images, if it has one, and without this column."""
    numbers = _numbers(table, known)
    ordered = np.sort(numbers, axis=0)
    # From 0 on, from 1 on as at Kaggle, or from 60,000 on as in a table that had the training images too.
    is_number = (np.diff(ordered, axis=0) == 1).all(0)
    order = numbers[:, is_number].argsort(0)
    if (order != order[:, :1]).any():
        raise FashionError(f"{path} has two columns that number the images, each in another order: keep one of them.")
    values: pd.DataFrame = table.loc[:, ~is_number]
    return values.iloc[order[:, 0]] if is_number.any() else values


def _values(path: Path, table: pd.DataFrame, known: Mapping[str, int]) -> pd.DataFrame:
    """The column with the labels or, if none is called so, the only one, or those of the scores, in order."""
    named = table.loc[:, table.columns.isin(PREDICTED)]
    columns = ", ".join(map(repr, table.columns))
    if named.shape[1] > 1 or (named.shape[1] and table.shape[1] == 1 + CLASS_COUNT):
        raise FashionError(f"{path} has more than one prediction for each image ({columns}): keep one of them.")
    if named.shape[1]:
        return named
    by_name = {column: known[name] for column, name in enumerate(table.columns) if name in known}
    if by_name and sorted(by_name.values()) != [*range(CLASS_COUNT)]:
        raise FashionError(f"{path} does not name each of the classes once in its header ({columns}): {EXPECTED}.")
    ends = [re.search(r"(?<!\d)\d$", str(name)) for name in table.columns]
    by_number = {column: int(end.group()) for column, end in enumerate(ends) if end}
    for numbers in (by_name, by_number):
        if sorted(numbers.values()) == [*range(CLASS_COUNT)]:
            return table.iloc[:, sorted(numbers, key=numbers.__getitem__)]
    if table.shape[1] not in {1, CLASS_COUNT}:
        raise FashionError(f"{path} has {len(table):,} x {table.shape[1]:,} values ({columns}): {EXPECTED}.")
    return table


def _numbers(table: pd.DataFrame, known: Mapping[str, int]) -> NDArray[np.float64]:
    return table.map(lambda cell: _number(cell, known)).to_numpy(np.float64)


def _number(cell: str, known: Mapping[str, int]) -> float:
    """A cell as a number, or the label of the class with that name; NaN for any other text, and for infinity."""
    try:
        number = float(cell)
    except ValueError:
        return known.get(_folded(cell), math.nan)
    return number if math.isfinite(number) else math.nan


def _folded(name: str) -> str:
    """A name by which it is known: in lower case, without spaces and punctuation."""
    return re.sub(r"[\W_]", "", name).casefold()


def _check_classes(path: Path, labels: Labels, truth: Labels, classes: Sequence[str]) -> None:
    """Raise FashionError if far more labels are right when the classes have other numbers."""
    counts = np.bincount(labels * CLASS_COUNT + truth, minlength=CLASS_COUNT**2).reshape(CLASS_COUNT, CLASS_COUNT)
    order = linear_sum_assignment(counts, maximize=True)[1].tolist()
    share, best = counts.trace() / len(truth), counts[range(CLASS_COUNT), order].sum() / len(truth)
    if best - share > GAIN:
        if order == sorted(range(CLASS_COUNT), key=lambda label: classes[label].casefold()):
            meaning = "its numbers are those of the classes in alphabetical order"
        else:
            meaning = ", ".join(f"{one} is {classes[other]}" for one, other in enumerate(order) if one != other)
        raise FashionError(
            f"{path} has {share:.1%} right labels, and would have {best:.1%} if {meaning}: "
            "write names of classes in place of numbers, or above the columns of scores."
        )


def _check_order(path: Path, labels: Labels, truth: Labels) -> None:
    """Raise FashionError if the labels are right no more often than by chance."""
    right = int((labels == truth).sum())
    chance = float((np.bincount(labels, minlength=CLASS_COUNT) * np.bincount(truth, minlength=CLASS_COUNT)).sum())
    if binomtest(right, len(truth), chance / len(truth) ** 2, alternative="greater").pvalue > CHANCE:
        raise FashionError(
            f"{path} has {right / len(truth):.1%} right labels, as many as by chance: "
            "expected a label for each test image, in the order of the test images."
        )
