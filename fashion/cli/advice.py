"""Error messages: what is wrong, what would be right, how to undo the change."""

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fashion.errors import FashionError, did_you_mean, on_one_line
from fashion.settings.params import PATH, UNDO, Params

# pydantic lists the allowed values as 'a', 'b' or 'c'.
QUOTED = "'(.*?)'"
# The packages that only the tool export needs.
ONNX = ("onnx", "onnxruntime", "onnxscript")


@contextmanager
def explained() -> Iterator[None]:
    """On an expected error in the body, end the process with one sentence on standard error and exit code 1.

    Letters that the output's encoding lacks are written as escapes, and what goes to a closed stream is dropped.
    """
    _open_streams()
    try:
        yield
    except KeyboardInterrupt:
        # While a command runs, typer catches it.
        sys.exit("error: interrupted before the command began: run it again.")
    except ValidationError as error:
        sys.exit(f"error: {sentence(error)}")
    except FashionError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        missing = on_one_line(str(error.filename or error))
        sys.exit(f"error: {missing} is not here: dvc repro makes it, or git restore, if it was committed.")
    except sqlite3.Error as error:
        cure = "free space in /var/tmp, delete /var/tmp/dvc, or set DVC_SITE_CACHE_DIR to another folder"
        sys.exit(f"error: DVC's database cannot be used ({on_one_line(str(error))}): {cure}.")
    except OSError as error:
        what = on_one_line(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(f"error: {what}: check the path, its permissions and the free space.")
    except (ModuleNotFoundError, MemoryError, RuntimeError) as error:
        if (advice := _cure(error)) is None:
            raise
        sys.exit(f"error: {advice}")


def _open_streams() -> None:
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Libraries write to it, and the next file to be opened would take its number.
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - for the life of the process
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def in_row(key: str) -> Iterator[None]:
    """Prefix errors in the body with the architecture's name, and add how to undo the change."""
    try:
        yield
    except FashionError as error:
        raise FashionError(f"{PATH}: models.{key}.{error} {UNDO}") from None


def sentence(error: ValidationError) -> str:
    """The first mistake, in one sentence; an unknown key before a missing one: a misspelt key causes both."""
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    return on_one_line(f"{PATH}: {_what(first)} {UNDO}")


def _cure(error: Exception) -> str | None:
    """The fix for a missing package, or for an error of torch or NumPy that a setting avoids; None for other errors."""
    if isinstance(error, ModuleNotFoundError) and error.name in ONNX:
        return f"{error.name} is not installed: make setup installs it."
    # Recognised by words and modules, without importing torch, so that --help answers at once.
    if "deterministic" in str(error):
        return f"torch has no deterministic form of a layer on this device: set gpu.deterministic to false in {PATH}."
    if re.search("out of memory|allocate", str(error)):
        return f"out of memory: lower the model's train.batch_size in {PATH}."
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        first = str(error).split("\n")[0]
        return f"torch could not compile the network ({first}): set gpu.compile to false in {PATH}."
    return None


def _what(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or "the file"
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            problem = f" is not a setting: {did_you_mean(str(error['loc'][-1]), _siblings(error))}"
        case "missing":
            problem = " is missing."
        case "too_short":
            problem = " is empty."
        case "literal_error":
            problem = f" is {value!r}: {did_you_mean(str(value), re.findall(QUOTED, context['expected']))}"
        case "value_error":
            problem = f" is {value!r}: it {context['error']}."
        case _ if "[key]" in error["loc"] and isinstance(value, int):
            problem = " is a number: put the name in quotes."
        case _ if "[key]" in error["loc"] or error["type"] == "invalid_key":
            problem = " is not a valid name: use lower-case letters, digits and _ only."
        case _:
            problem = f" is {value!r}: it {error['msg'].replace('Input should', 'must')}."
    return key + problem


def _siblings(error: ErrorDetails) -> list[str]:
    """The settings that are allowed in place of an unknown one."""
    kind: Any = Params
    for part in error["loc"][:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            # A mapping of names to rows: dict[Key, Row].
            kind = get_args(kind)[1]
    return list(kind.model_fields)
