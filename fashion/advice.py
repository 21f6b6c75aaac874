"""Sentences for people whose params.yaml is wrong: which key, what would be right, how to undo it."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fashion import FashionError, did_you_mean
from fashion.params import PATH, Params

UNDO = f"Mend it, or undo your change with: git restore {PATH}"


@contextmanager
def explained() -> Iterator[None]:
    """End the process with one sentence on standard error and exit code 1 where what runs inside fails as foreseen."""
    try:
        yield
    except ValidationError as error:
        sys.exit(f"error: {sentence(error)}")
    except (FashionError, OSError) as error:
        sys.exit(f"error: {error}")


def sentence(error: ValidationError) -> str:
    """The first thing wrong, in one sentence; an unknown key before a missing one, since it is often the same."""
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    return f"{PATH}: {_what(first)} {UNDO}"


def dangling(params: Params) -> str | None:
    """The first name that refers to nothing, in one sentence; None where all is well."""
    rows = params.models
    references: list[tuple[str, str, Iterable[str]]]
    references = [
        ("model", params.model, rows),
        *((f"models.{key}.split", row.split, params.splits) for key, row in rows.items()),
    ]
    references += [(f"repeats.{key}", key, rows) for key in params.repeats]
    references += [(f"published.{key}", key, rows) for key in params.published]
    for where, name, known in references:
        if name not in known:
            return f"{PATH}: {where} names {name!r}, which does not exist: {did_you_mean(name, known)} {UNDO}"
    return None


def _what(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or "the file"
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting: {did_you_mean(str(error['loc'][-1]), _siblings(error))}"
        case "missing":
            return f"{key} is missing."
        case "literal_error":
            words = re.findall("'(.*?)'", context["expected"])
            return f"{key} is {value!r}: {did_you_mean(str(value), words)}"
        case "value_error":
            return f"{key} is {value!r}: it {context['error']}."
        case "string_pattern_mismatch" if "[key]" in error["loc"]:
            return f"{key} is no name: lower-case letters, digits and _ only."
    return f"{key} is {value!r}: it {error['msg'].replace('Input should', 'must')}."


def _siblings(error: ErrorDetails) -> list[str]:
    """The settings that may stand where an unknown one does."""
    section: type[BaseModel] | None = Params
    for part in error["loc"][:-1]:
        annotation = section.model_fields[str(part)].annotation if section and part in section.model_fields else section
        candidates = [annotation, *get_args(annotation)]
        section = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return list(section.model_fields) if section else []
