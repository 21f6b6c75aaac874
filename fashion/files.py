"""Files that are there whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion import FashionError

if TYPE_CHECKING:
    import pandas as pd


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename; its folder is made where needed.

    Raises FashionError where the file cannot be written; what was there before is there still.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # mkstemp's files are private; these are ordinary ones.
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise FashionError(f"{path} cannot be written ({error.strerror}): make room or mend its rights.") from None


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all; its line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and diffs: indented, in the order given, floats to six places."""
    write_text(path, json.dumps(_rounded(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table without its index, the same bytes on every system."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_json(path: Path) -> Any:
    """Read JSON; FashionError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FashionError(f"{path} is no JSON ({error}): run dvc repro again.") from None


def _rounded(content: Any) -> Any:
    match content:
        case float():
            return round(content, 6)
        case dict():
            return {key: _rounded(value) for key, value in content.items()}
        case list() | tuple():
            return [_rounded(value) for value in content]
    return content
