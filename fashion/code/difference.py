"""Where the files in two folders first differ."""

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from safetensors import deserialize

# Files with lines.
TEXT = (".csv", ".html", ".json", ".md", ".tsv")


def first_difference(before: Path, after: Path, paths: Iterable[str]) -> str:
    """The first place where two folders differ in these files, and in the files in these folders; empty if in none.

    A path that neither folder has counts as a difference.
    """
    for path in paths:
        files = {
            file.relative_to(folder)
            for folder in (before, after)
            for file in (folder / path, *(folder / path).rglob("*"))
            if file.is_file()
        }
        if not files:
            return f"{path} is missing"
        if places := [place for file in files if (place := _place(file, before / file, after / file))]:
            return min(places)[-1]
    return ""


def _place(file: Path, one: Path, other: Path) -> tuple[bool, int, str] | None:
    """Where two copies of a file first differ, None if they are the same; the earliest epoch of a training sorts first.

    Returns whether it is no history of dvclive, in which a line is an epoch; the line; the place in words.
    """
    if not (one.is_file() and other.is_file()):
        return True, 0, f"{file} is missing on one side"
    if one.read_bytes() == other.read_bytes():
        return None
    if file.suffix == ".safetensors":
        old, new = (dict(deserialize(copy.read_bytes())) for copy in (one, other))
        return True, 0, f"{file}, {next((name for name in old | new if old.get(name) != new.get(name)), 'header')}"
    if file.suffix in TEXT:
        lines = zip_longest(*(copy.read_text(encoding="utf-8").split("\n") for copy in (one, other)))
        number = next(number for number, (old, new) in enumerate(lines, 1) if old != new)
        return file.suffix != ".tsv", number, f"{file}, line {number}"
    return True, 0, str(file)
