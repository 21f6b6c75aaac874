"""Sentences for people whose params.yaml is wrong: which key, what would be right, how to undo it."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fashion import FashionError, did_you_mean
from fashion.params import PATH, UNDO, Params

# pydantic lists what may stand somewhere as 'a', 'b' or 'c'.
QUOTED = "'(.*?)'"


@contextmanager
def explained() -> Iterator[None]:
    """End the process with one sentence on standard error and exit code 1 where what runs inside fails as foreseen."""
    try:
        yield
    except ValidationError as error:
        sys.exit(f"error: {sentence(error)}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename or error} is not here: dvc repro makes what a stage reads.")
    except (FashionError, OSError) as error:
        sys.exit(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if (cure := _cure(error)) is None:
            raise
        sys.exit(f"error: {cure}")


def sentence(error: ValidationError) -> str:
    """The first thing wrong, in one sentence; an unknown key before a missing one, since it is often the same."""
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    return f"{PATH}: {_what(first)} {UNDO}"


@contextmanager
def of_model(key: str) -> Iterator[None]:
    """Say of which architecture a misfit is, and how to undo it."""
    try:
        yield
    except FashionError as error:
        raise FashionError(f"{PATH}: models.{key}.{error} {UNDO}") from None


def dangling(params: Params) -> str | None:
    """The first name that refers to nothing, in one sentence; None where all is well."""
    rows = params.models
    references: list[tuple[str, str, Iterable[str]]]
    references = [
        ("model", params.model, rows),
        *((f"models.{key}.split", row.split, params.splits) for key, row in rows.items()),
    ]
    references += [(f"repeats.{name}.model", repeat.model, rows) for name, repeat in params.repeats.items()]
    references += [(f"published.{key}", key, rows) for key in params.published]
    for where, name, known in references:
        if name not in known:
            return f"{PATH}: {where} names {name!r}, which does not exist: {did_you_mean(name, known)} {UNDO}"
    for name, repeat in params.repeats.items():
        if name != (right := f"{repeat.model}-{repeat.seed}"):
            return f"{PATH}: repeats.{name} must be called {right}, after its model and seed. {UNDO}"
    return None


def _cure(error: Exception) -> str | None:
    """What helps against the errors of torch and NumPy that a setting mends; None against others."""
    # Told by their words and modules: torch stays unimported, so that --help answers at once.
    if re.search("out of memory|allocate", str(error)):
        return f"there is too little memory: a smaller train.batch_size of the model in {PATH} takes less."
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
        case _ if "[key]" in error["loc"] or error["type"] == "invalid_key":
            problem = " is no name: lower-case letters, digits and _ only."
        case _:
            problem = f" is {value!r}: it {error['msg'].replace('Input should', 'must')}."
    return key + problem


def _siblings(error: ErrorDetails) -> list[str]:
    """The settings that may stand where an unknown one does."""
    kind: Any = Params
    for part in error["loc"][:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            # A mapping of names to rows: dict[Key, Row].
            kind = get_args(kind)[1]
    return list(kind.model_fields)
