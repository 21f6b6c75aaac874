"""What a training is given: the description that the stage check wrote, and where to compute."""

from fashion import FashionError
from fashion.description import FOLDER, Description
from fashion.params import Gpu, Params


def described(name: str) -> Description:
    """The description of a training: KEY for an architecture's, KEY-SEED for one of its repeats.

    Raises FashionError where there is none of that name, or where settings or code have changed since.
    """
    path = FOLDER / f"{name}.json"
    today = Params.load().describe(name)
    # Equal mappings may have their layers in another order.
    if Description.read(path).text != today.text:
        raise FashionError(f"{path} has other settings or code than today's: run dvc repro check first.")
    return today


def gpu() -> Gpu:
    """The settings of `gpu` in params.yaml: device and processes are no inputs of a training, and DVC ignores them."""
    return Params.load().gpu
