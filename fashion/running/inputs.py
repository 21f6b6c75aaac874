"""What a training is given: the description that the stage check wrote, and where to compute."""

from fashion import FashionError
from fashion.description import FOLDER, Description
from fashion.fingerprint import fingerprint
from fashion.params import Gpu, Params


def described(name: str) -> Description:
    """The description of a training: KEY for an architecture's, KEY-SEED for one of its repeats.

    Raises FashionError where there is none of that name, or the code has changed since.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        params = Params.load()
        if name not in params.repeats:
            # An unknown name gives the closest one.
            params.architecture(name)
    description = Description.read(path)
    if description.code != fingerprint("train"):
        raise FashionError(f"the code has changed since {path} was written: run the same dvc command again.")
    return description


def gpu() -> Gpu:
    """The settings of `gpu` in params.yaml: device and processes are no inputs of a training, and DVC ignores them."""
    return Params.load().gpu
