"""The inputs of a training: the description that the stage check wrote, and where to compute."""

from fashion.errors import FashionError
from fashion.settings.description import DESCRIPTIONS, Description
from fashion.settings.params import Gpu, Params


def described(name: str) -> Description:
    """The description of a training: KEY for an architecture's, KEY-SEED for a repeat.

    Raises FashionError if there is none of that name, or if settings or code have changed since it was written.
    """
    path = DESCRIPTIONS / f"{name}.json"
    current = Params.load().describe(name)
    # Equal mappings may have their layers in another order.
    if Description.read(path).text != current.text:
        raise FashionError(f"{path} is out of date: run dvc repro check first.")
    return current


def gpu() -> Gpu:
    """The settings of `gpu` in params.yaml; device and processes are in no description, so they make nothing stale."""
    return Params.load().gpu
