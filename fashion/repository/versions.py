"""Results at a commit and in this folder."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.repository.commands import attempt

# Reads a file of one version; None if that version has no such file.
Read = Callable[[str], str | None]


class Answers(NamedTuple):
    """True labels, labels predicted in an earlier version, labels predicted in a later one."""

    truth: Labels
    before: Labels
    after: Labels


def at(commit: str) -> Read:
    """The files at a commit."""
    return lambda path: attempt("git", "show", f"{commit}:./{path}")


def here(path: str) -> str | None:
    """A file in this folder."""
    return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None


def mapping(read: Read, path: str) -> dict[str, Any]:
    """The content of a JSON file; empty if there is no such file, FashionError if it is damaged."""
    try:
        content = json.loads(read(path) or "{}")
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, "not a mapping")
    return content


def answers(before: Read, old: str, after: Read, new: str) -> Answers | None:
    """The labels that two trainings predict; None if they are not of the same test images."""
    was, now = _labels(before, old), _labels(after, new)
    same = len(now) and np.array_equal(was[:, 0], now[:, 0])
    return Answers(now[:, 0], was[:, 1], now[:, 1]) if same else None


def _labels(read: Read, name: str) -> Labels:
    """True and predicted label of each test image, (images, 2); no images if there is no such file."""
    path = f"metrics/predictions/{name}.csv"
    try:
        table = pd.read_csv(StringIO(read(path) or "truth,prediction"), dtype="int64")
        return table[["truth", "prediction"]].to_numpy()
    except (ValueError, KeyError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: object) -> FashionError:
    first = str(error).strip(" ,:\n").split("\n")[0].rstrip(".")
    return FashionError(f"{path} is damaged, here or in that commit ({first}): restore it with git.")
