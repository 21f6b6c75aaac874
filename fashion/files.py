"""Files that are complete or absent."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from fashion.errors import FashionError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder, which is created if needed, then rename it.

    Raises FashionError if the file cannot be written; a previous file of that name is then unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # Only the owner may read what mkstemp makes; everybody may read these files.
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise FashionError(
            f"{path} cannot be written ({error.strerror}): free some space or fix the permissions."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, with its line ends unchanged."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and diffs: indented, in the order given, floats to six places."""
    write_text(path, json.dumps(_rounded(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, the same bytes on every system."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_json(path: Path) -> Any:
    """Read JSON; FashionError if the content is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FashionError(f"{path} is not JSON ({error}): run dvc repro again.") from None


def _rounded(content: Any) -> Any:
    match content:
        case float():
            return round(content, 6)
        case dict():
            return {key: _rounded(value) for key, value in content.items()}
        case list() | tuple():
            return [_rounded(value) for value in content]
    return content
