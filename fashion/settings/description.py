"""All settings and code that determine a training's results, as types and as one text."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)
from typing_extensions import TypedDict

from fashion.data.datasets import COMMON, DATASETS, FULL
from fashion.environment import Kernels, Precision
from fashion.errors import FashionError, did_you_mean

# Stages depend on this folder instead of params.yaml and the code; the stage check writes it.
INPUTS = Path("data/inputs")
# The descriptions: KEY-SEED.json for the training of an architecture with a seed.
DESCRIPTIONS = INPUTS / "train"


def _layer(value: object) -> tuple[str, dict[str, Any]]:
    """A layer's class and arguments, written `Tanh`, {Tanh: {}} or, in JSON, ["Tanh", {}]."""
    match value:
        case str():
            return value, {}
        case [str() as kind, dict() as arguments]:
            return kind, arguments
        case dict() if len(value) == 1:
            (kind, arguments) = next(iter(value.items()))
            if isinstance(arguments, dict) and all(isinstance(name, str) for name in arguments):
                return str(kind), arguments
    raise ValueError("must be a layer's class, or one class with its arguments: {Conv2d: {out_channels: 6, ...}}")


def _dataset(name: str) -> str:
    if name in DATASETS:
        return name
    raise ValueError(f"must be one of {', '.join(DATASETS)}")


# Keys become parts of commands and file names, layer names parts of weights' names.
Key = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
# Names and versions of processors and packages stand on pages and in Markdown as they are: without markup.
Words = Annotated[str, Field(pattern=r"^[^<>&|`\x00-\x1f]*$")]
Layer = Annotated[tuple[str, dict[str, Any]], BeforeValidator(_layer)]
Layers = Annotated[dict[Key, Layer], Field(min_length=1)]
# More parts of a batch than any number of cores that one training can use.
MOST_LANES = 64
# The range that torch, NumPy and scikit-learn all accept.
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# What float32 holds with room to multiply: a network with larger values has infinite outputs.
Value = Annotated[float, Field(ge=-1e6, le=1e6)]
DatasetName = Annotated[str, AfterValidator(_dataset)]
# How initial weights are drawn: as torch does, linear ones as a published notebook does, or as He et al. do.
Init = Literal["torch", "fan_in_normal", "he_normal"]


class Settings(BaseModel):
    """A section of the settings: unknown keys and inexact types are errors; values cannot be changed later.

    A description leaves out a setting that has a default and is at it, so a new one with a default makes nothing stale.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Split(Settings):
    """The number of images in each part, for a training set of 60,000, and the seed that draws them."""

    train: PositiveInt
    validation: Annotated[int, Field(ge=COMMON)]
    seed: Seed

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.train + self.validation > FULL:
            raise ValueError(f"asks for {self.train} + {self.validation} images, and there are {FULL}")
        return self


class Augment(Settings):
    """How training images vary.

    flip: mirror with probability 1/2. shift: move by up to this many pixels each way. erase: the side, in pixels, of a
    square that is blanked out.
    """

    flip: bool
    shift: Annotated[int, Field(ge=0, le=14)]
    erase: Annotated[int, Field(ge=0, le=28)]


# Training images as they are.
NO_AUGMENT = Augment(flip=False, shift=0, erase=0)


class Recipe(Settings):
    """How an architecture is trained, except for what its row states.

    lanes: the parts of each batch.
    """

    batch_size: Annotated[int, Field(gt=0, le=FULL)]
    lanes: Annotated[int, Field(ge=1, le=MOST_LANES)]
    optimizer: Literal["adam", "adamw", "nadam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=1e3)]
    weight_decay: Annotated[float, Field(ge=0, le=1e3)]
    schedule: Literal["constant", "linear", "cosine"]
    warmup: Fraction
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment: Augment


class Train(Recipe):
    """The complete recipe of one architecture.

    precision: of the layers.
    """

    epochs: Annotated[int, Field(gt=0, le=100_000)]
    precision: Precision


class Pixels(Settings):
    """The network's input for the darkest and the lightest pixel; it is linear in between."""

    black: Value
    white: Value

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.black == self.white:
            raise ValueError("makes all pixels equal: black and white must differ")
        return self


class Architecture(Settings):
    """A complete row of `models`."""

    split: str
    pixels: Pixels
    init: Init
    train: Train
    layers: Layers


class Numerics(Settings):
    """The settings of `gpu` that change results."""

    compile: bool
    channels_last: bool
    deterministic: bool
    kernels: Kernels


class HardwareRecord(TypedDict):
    """Where and how a network was trained: all choices of hardware that affect results."""

    device: Literal["cpu", "cuda", "mps"]
    processor: Words
    precision: Precision
    compile: bool
    channels_last: bool
    deterministic: bool
    kernels: Kernels


class Description(Settings):
    """All that determines a training's results, apart from the machine and the versions of packages.

    model: the architecture's key. code: the identity of the stage train's code.
    """

    model: Key
    seed: Seed
    dataset: DatasetName
    split: Split
    architecture: Architecture
    gpu: Numerics
    code: str

    @property
    def name(self) -> str:
        """The training's name, KEY-SEED."""
        return f"{self.model}-{self.seed}"

    @property
    def content(self) -> dict[str, Any]:
        """The description as plain values."""
        return self.model_dump(exclude_defaults=True)

    @property
    def text(self) -> str:
        """The description as JSON."""
        # Unsorted: the order of `layers` is the network.
        return json.dumps(self.content, indent=2, allow_nan=False) + "\n"

    @property
    def identity(self) -> str:
        """The SHA-256 sum of the text, in hexadecimal, by which scores and ablations name their training."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def of(cls, name: str) -> Self:
        """The description of a training, as check wrote it; FashionError if there is none, or if it is damaged."""
        path = DESCRIPTIONS / f"{name}.json"
        if not path.is_file() and (known := sorted(file.stem for file in DESCRIPTIONS.glob("*.json"))):
            raise FashionError(f"no training is called {name!r}: {did_you_mean(name, known)}")
        description = cls.read(path)
        if description.name != name:
            raise FashionError(f"{path} is of {description.name}: run dvc repro again.")
        return description

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a description; FashionError if the file is missing or damaged."""
        try:
            description = cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
            # An argument of a layer may be any number, also one that is too large for a float.
            json.dumps(description.content, allow_nan=False)
        except FileNotFoundError:
            raise FashionError(f"{path} is not here: dvc repro check writes it.") from None
        except (ValueError, RecursionError) as error:
            raise FashionError(f"{path} is damaged ({str(error).splitlines()[0]}): run dvc repro again.") from None
        return description


@contextmanager
def unchanged(name: str) -> Iterator[None]:
    """Raise FashionError if the description of a training changes while the body runs.

    DVC reads it again when a training ends, and would record the result as that of the new description.
    """
    before = Description.of(name)
    yield
    if Description.of(name).text != before.text:
        raise FashionError(
            f"settings or code of {name} changed while it trained: undo that to keep the result, then run dvc repro."
        )
