"""Tables in CSV files."""

import math
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pandas as pd

from fashion.files import damaged, write_text


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, the same bytes on every system."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_csv(path: Path, columns: Mapping[str, str], separator: str = ",") -> pd.DataFrame:
    """Read a table with these columns, in this order, each of one of pandas's types; FashionError if it has others."""
    try:
        return parsed(path.read_text(encoding="utf-8"), columns, separator)
    except ValueError as error:
        raise damaged(path, error) from None


def parsed(text: str, columns: Mapping[str, str], separator: str = ",") -> pd.DataFrame:
    """The same of a file's text; ValueError, which says what is wrong, if it has other columns."""
    try:
        table = pd.read_csv(StringIO(text), sep=separator, dtype=str, na_filter=False)
        # pandas takes the first column for an index if rows have one value more than the header.
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more values than columns")
        if (names := [*map(str, table)]) != [*columns]:
            raise ValueError(f"its columns are {', '.join(names)} and not {', '.join(columns)}")
        table = table.astype(dict(columns))
    except (ValueError, OverflowError) as error:
        # pandas's messages end with a line break.
        raise ValueError(str(error).strip()) from None
    if not table.select_dtypes("number").map(math.isfinite).all(axis=None):
        raise ValueError("it has a number that is NaN or infinite")
    return table
