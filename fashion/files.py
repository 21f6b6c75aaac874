"""Files that are complete or absent."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from fashion.errors import FashionError

Content = TypeVar("Content")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write and read, which gets that name when the body completes.

    It has a temporary name in the same folder until then, and is deleted if the body fails.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # Unlike tempfile's, it has the permissions that the user's umask leaves.
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            # Otherwise a power cut after the renaming could leave an empty file of that name.
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # An interrupt may come after it was renamed.
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, and the folder that it is in.

    Raises FashionError if the file cannot be written; a previous file of that name is then unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise FashionError(
            f"{path} cannot be written ({error.strerror}): free some space or fix the permissions."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, with its line ends unchanged; half a surrogate pair, which UTF-8 lacks, as an escape."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and diffs: indented, in the order given, floats to six places."""
    write_text(path, json.dumps(rounded(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, kind: type[Content]) -> Content:
    """Read JSON of that type; FashionError if the content is not JSON, or of another type."""
    try:
        return parsed(path.read_text(encoding="utf-8"), kind)
    except ValueError as error:
        raise damaged(path, error) from None


def parsed(text: str, kind: type[Content]) -> Content:
    """The value of that type that JSON states; ValueError if the text is not JSON, or of another type."""
    try:
        return checked(json.loads(text), kind)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def checked(content: object, kind: type[Content]) -> Content:
    """A value, which must have that type; ValueError, naming what has another, otherwise."""
    try:
        return TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{where}: {first['msg']}") from None


def damaged(path: Path, problem: object) -> FashionError:
    """The error for a file whose content is not what the pipeline writes."""
    return FashionError(f"{path} is damaged ({problem}): undo a change with git restore, or run dvc repro again.")


def rounded(content: Any) -> Any:
    """A value as JSON files have it: floats to six places, tuples as lists."""
    match content:
        case float():
            return round(content, 6)
        case dict():
            return {key: rounded(value) for key, value in content.items()}
        case list() | tuple():
            return [rounded(value) for value in content]
    return content


def md5(content: bytes) -> str:
    """The MD5 sum of a file's content, by which DVC's locks name it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
