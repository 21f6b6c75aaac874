"""The inputs of a training: the description that the stage check wrote, and where to compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fashion.errors import FashionError
from fashion.settings.description import DESCRIPTIONS, Description
from fashion.settings.params import Gpu, Params


def described(name: str) -> Description:
    """The description of a training: KEY for an architecture's, KEY-SEED for a repeat.

    Raises FashionError if there is none of that name, or if settings or code have changed since it was written.
    """
    path = _file(name)
    current = Params.load().describe(name)
    # Equal mappings may have their layers in another order.
    if Description.read(path).text != current.text:
        raise FashionError(f"{path} is out of date: run dvc repro check first.")
    return current


@contextmanager
def unchanged(name: str) -> Iterator[None]:
    """Raise FashionError if the description of a training changes while the body runs.

    DVC reads it again when a training ends, and would record the result as that of the new description.
    """
    before = described(name).text
    yield
    if Description.read(_file(name)).text != before:
        raise FashionError(
            f"settings or code of {name} changed while it trained: undo that to keep the result, then run dvc repro."
        )


def gpu() -> Gpu:
    """The settings of `gpu` in params.yaml; device and processes are in no description, so they make nothing stale."""
    return Params.load().gpu


def _file(name: str) -> Path:
    return DESCRIPTIONS / f"{name}.json"
