"""The settings of params.yaml as types: what each may be, and nothing of what it means."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from fashion import FashionError, did_you_mean

PATH = Path("params.yaml")
UNDO = f"Mend it, or undo your change with: git restore {PATH}"
# The training images that the counts of a split are meant for.
FULL = 60_000


def _device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        return value
    raise ValueError("must be auto, cpu, mps, cuda or cuda:N")


def _threads(value: object) -> object:
    if value == "auto" or (type(value) is int and value > 0):
        return value
    raise ValueError("must be auto or a positive number")


def _layer(value: object) -> tuple[str, dict[str, Any]]:
    """A layer's class and arguments, written `Tanh`, {Tanh: {}} or, in a weights file, ["Tanh", {}]."""
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


# Keys become parts of commands and file names, layer names parts of weights' names.
Key = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Layer = Annotated[tuple[str, dict[str, Any]], BeforeValidator(_layer)]
Layers = Annotated[dict[Key, Layer], Field(min_length=1)]
# What torch, NumPy and scikit-learn all take, with room for a repeat's seeds.
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """A section: every key known, every type exact, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Settings):
    """Which images."""

    dataset: Literal["fashion_mnist", "mnist", "kmnist", "digits"]


class Split(Settings):
    """Counts of training images in each part, for a training set of 60,000, and the seed that draws them."""

    train: PositiveInt
    validation: PositiveInt
    seed: Seed

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.train + self.validation > FULL:
            raise ValueError(f"asks for {self.train} + {self.validation} images, and there are {FULL}")
        return self


class Augment(Settings):
    """How training images vary: mirrored or not, moved by up to `shift` pixels, a square of `erase` pixels blank."""

    flip: bool
    shift: Annotated[int, Field(ge=0, le=14)]
    erase: Annotated[int, Field(ge=0, le=28)]


class Recipe(Settings):
    """How architectures are trained unless their own rows say otherwise."""

    batch_size: PositiveInt
    optimizer: Literal["adam", "adamw", "nadam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: NonNegativeFloat
    schedule: Literal["constant", "linear", "cosine"]
    warmup: Fraction
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment: Augment


class Train(Recipe):
    """One architecture's complete recipe."""

    epochs: PositiveInt


class Gpu(Settings):
    """Where and how training computes."""

    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    channels_last: bool
    deterministic: bool
    threads: Annotated[Literal["auto"] | int, BeforeValidator(_threads)]
    processes: Annotated[int, Field(ge=1)]


class Pixels(Settings):
    """What the darkest and the lightest pixel become; those between follow linearly."""

    black: float
    white: float


class Architecture(Settings):
    """A row of `models`: all that determines one network's numbers, its own `train` completed by the common one."""

    split: str
    pixels: Pixels
    init: Literal["torch", "fan_in_normal"] = "torch"
    train: Train
    layers: Layers


class Published(Settings):
    """What others claim for an architecture, as fractions, and where."""

    train_accuracy: Fraction | None = None
    validation_accuracy: Fraction | None = None
    test_accuracy: Fraction | None = None
    source: str
    note: str | None = None

    def accuracies(self) -> dict[str, float]:
        """The claimed accuracies by name, those that there are."""
        return self.model_dump(include={"train_accuracy", "validation_accuracy", "test_accuracy"}, exclude_none=True)


class Params(Settings):
    """The whole of params.yaml."""

    model: str
    seed: Seed
    data: Data
    splits: dict[Key, Split]
    train: Recipe
    gpu: Gpu
    repeats: dict[Key, PositiveInt]
    models: dict[Key, Architecture]
    published: dict[Key, Published]

    @classmethod
    def load(cls, path: Path = PATH) -> Self:
        """Read the settings.

        Raises FashionError where the file is missing or no YAML, pydantic's ValidationError where a setting is wrong.
        """
        return cls.model_validate(_completed(_read(path)))

    def architecture(self, key: str) -> Architecture:
        """The row called `key`; FashionError where there is none."""
        if key not in self.models:
            raise FashionError(f"no architecture of {PATH} is called {key!r}: {did_you_mean(key, self.models)}")
        return self.models[key]

    def claims(self, key: str) -> dict[str, float]:
        """What is published for an architecture, by name; nothing where it is trained on another data set."""
        if self.data.dataset != "fashion_mnist" or key not in self.published:
            return {}
        return self.published[key].accuracies()


def _read(path: Path) -> object:
    try:
        # The parser that DVC uses: both read the same values.
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FashionError(f"{path} is not here: run the command in the project's root.") from None
    except (YAMLError, ValueError) as error:
        where = error.problem_mark.line + 1 if isinstance(error, MarkedYAMLError) and error.problem_mark else "?"
        what = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise FashionError(f"{path}, line {where}, is no YAML: {what}. {UNDO}") from None


def _completed(raw: Any) -> Any:
    """The settings with each architecture's own `train` laid over the common one."""
    match raw:
        case {"train": dict() as common, "models": dict() as models}:
            rows = {
                key: row | {"train": _laid_over(common, row["train"])}
                if isinstance(row, dict) and isinstance(row.get("train"), dict)
                else row
                for key, row in models.items()
            }
            return raw | {"models": rows}
    return raw


def _laid_over(base: object, top: object) -> object:
    if isinstance(base, dict) and isinstance(top, dict):
        return base | {key: _laid_over(base.get(key), value) for key, value in top.items()}
    return top
