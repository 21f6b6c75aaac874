"""The settings of params.yaml as types, and the description of each training that follows from them."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, PositiveInt
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent

from fashion.code.identity import identity
from fashion.errors import FashionError, did_you_mean
from fashion.settings.description import (
    Architecture,
    DatasetName,
    Description,
    Fraction,
    Init,
    Key,
    Numerics,
    Pixels,
    Recipe,
    Seed,
    Settings,
    Split,
)

Value = TypeVar("Value", int, str)

PATH = Path("params.yaml")
UNDO = f"Fix it, or undo your change with: git restore {PATH}"
# The largest file, in characters, and the deepest nesting: far more than thirty times the file as committed.
LONGEST, DEEPEST = 2**20, 40
# Whole numbers must be smaller than this, which is what torch can hold.
INTEGERS = 2**63


def _device(value: str) -> str:
    # torch keeps a GPU's number in eight bits, and takes cuda:256 for cuda:0.
    if re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", value):
        return value
    raise ValueError("must be auto, cpu, mps, cuda or cuda:N, with N from 0 to 99")


def _distinct(values: list[Value]) -> list[Value]:
    if len({*values}) == len(values):
        return values
    raise ValueError("has a value twice: one training would run twice")


class MoreSeeds(Settings):
    """Architectures, and the seeds with which they are trained in addition to the common ones."""

    models: Annotated[list[str], AfterValidator(_distinct)]
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Data(Settings):
    """The data set."""

    dataset: DatasetName


class Gpu(Numerics):
    """Where and how training computes."""

    device: Annotated[str, AfterValidator(_device)]


class Budget(Settings):
    """What a training may use at most, and the architecture that does best within it.

    parameters: fewer than this. minutes: of training, on two cores.
    """

    model: str
    epochs: PositiveInt | None = None
    parameters: PositiveInt | None = None
    minutes: PositiveInt | None = None

    @property
    def words(self) -> str:
        """The limits in words: fewer than 100,000 parameters, 45 minutes."""
        limits = {"epochs": self.epochs, "minutes": self.minutes}
        words = [f"fewer than {self.parameters:,} parameters"] if self.parameters else []
        return ", ".join(words + [f"{limit} {name}" for name, limit in limits.items() if limit])


class Row(Architecture):
    """A row of `models`, completed by the row named in `like` and by the common settings."""

    init: Init = "torch"
    like: str | None = Field(default=None, exclude=True)


class Published(Settings):
    """The published accuracies of an architecture, as fractions, and their source.

    validation_curve: the validation accuracy after each epoch, from the first on.
    """

    train_accuracy: Fraction | None = None
    validation_accuracy: Fraction | None = None
    test_accuracy: Fraction | None = None
    validation_curve: Annotated[list[Fraction], Field(min_length=1)] | None = None
    source: str
    note: str | None = None

    def accuracies(self) -> dict[str, float]:
        """The published accuracies by name."""
        return self.model_dump(include={"train_accuracy", "validation_accuracy", "test_accuracy"}, exclude_none=True)


class Params(Settings):
    """The whole of params.yaml."""

    model: str
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
    more_seeds: MoreSeeds
    data: Data
    splits: dict[Key, Split]
    pixels: Pixels
    train: Recipe
    gpu: Gpu
    models: dict[Key, Row]
    budgets: dict[Key, Budget]
    published: dict[Key, Published]

    @classmethod
    def load(cls, path: Path = PATH) -> Self:
        """Read the settings.

        Raises FashionError if the file is missing or not YAML, a name in it refers to nothing, a seed is in both lists,
        or the splits differ in their seed; pydantic's ValidationError if a setting is wrong.
        """
        params = cls.model_validate(_completed(_read(path)))
        params._check_names()
        if params.more_seeds.models and (twice := {*params.seeds} & {*params.more_seeds.seeds}):
            raise FashionError(
                f"{PATH}: {min(twice)} is in seeds and in more_seeds, so that one training would run twice: choose "
                f"another one. {UNDO}"
            )
        if len({split.seed for split in params.splits.values()}) > 1:
            raise FashionError(
                f"{PATH}: splits have several seeds, and so no validation images in common on which networks are "
                f"compared: give all of them one. {UNDO}"
            )
        return params

    def _check_names(self) -> None:
        """Raise FashionError for the first name that refers to nothing."""
        rows = self.models
        references: list[tuple[str, str, Iterable[str]]] = [("model", self.model, rows)]
        references += [(f"models.{key}.split", row.split, self.splits) for key, row in rows.items()]
        references += [(f"budgets.{key}.model", one.model, rows) for key, one in self.budgets.items()]
        references += [(f"published.{key}", key, rows) for key in self.published]
        references += [("more_seeds.models", key, rows) for key in self.more_seeds.models]
        for where, name, known in references:
            if name not in known:
                raise FashionError(
                    f"{PATH}: {where} names {name!r}, which does not exist: {did_you_mean(name, known)} {UNDO}"
                )

    def architecture(self, key: str) -> Row:
        """The row called `key`; FashionError if there is none."""
        if key not in self.models:
            raise FashionError(f"no architecture of {PATH} is called {key!r}: {did_you_mean(key, self.models)}")
        return self.models[key]

    def claims(self, key: str) -> dict[str, float]:
        """The accuracies published for an architecture, by name; none if they are of another data set."""
        if self.data.dataset != "fashion_mnist" or key not in self.published:
            return {}
        return self.published[key].accuracies()

    def name(self, key: str, seed: int | None = None) -> str:
        """The name of an architecture's training, by default with the first seed; FashionError for an unknown key."""
        self.architecture(key)
        return f"{key}-{self.seeds[0] if seed is None else seed}"

    def seeds_of(self, key: str) -> list[int]:
        """The seeds with which an architecture is trained."""
        return self.seeds + (self.more_seeds.seeds if key in self.more_seeds.models else [])

    def tested_seeds(self, key: str) -> list[int]:
        """The seeds that tests use: those in `more_seeds`, if it has any for this architecture.

        They were added after a look at the others; tests of all of them together would find too much.
        """
        return self.more_seeds.seeds if key in self.more_seeds.models else self.seeds

    def describe(self, key: str, seed: int | None = None) -> Description:
        """The description of that training; FashionError for an unknown key."""
        row = self.architecture(key)
        return Description(
            model=key,
            seed=self.seeds[0] if seed is None else seed,
            dataset=self.data.dataset,
            split=self.splits[row.split],
            architecture=Architecture(**{field: getattr(row, field) for field in Architecture.model_fields}),
            gpu=Numerics(**{field: getattr(self.gpu, field) for field in Numerics.model_fields}),
            code=identity("train", key),
        )

    def trainings(self) -> dict[str, Description]:
        """The description of every training, by the training's name."""
        return {self.name(key, seed): self.describe(key, seed) for key in self.models for seed in self.seeds_of(key)}


def stage(kind: str, name: str) -> str:
    """The address of the stage `train` or `evaluate` of a training: models/dvc.yaml:train@KEY-SEED."""
    more, (key, _, seed) = Params.load().more_seeds, name.rpartition("-")
    group = f"{kind}_more" if key in more.models and seed in map(str, more.seeds) else kind
    return f"models/dvc.yaml:{group}@{name}"


class _Where(BaseModel):
    """The settings of `gpu`, whatever else the file has."""

    gpu: Gpu


def gpu() -> Gpu:
    """The settings of `gpu` alone; `device` is in no description."""
    return _Where.model_validate(_read(PATH)).gpu


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FashionError(f"{path} is not here: run the command in the project's root.") from None
    except ValueError as error:
        raise FashionError(f"{path} is not text in UTF-8: {error}. {UNDO}") from None
    try:
        return parsed(text)
    except FashionError as error:
        raise FashionError(f"{path}{error} {UNDO}") from None


def parsed(text: str) -> object:
    """The content of a file of settings: mappings, lists, strings, finite numbers, true, false and null.

    Raises FashionError, whose message continues the file's name, for everything else.
    """
    try:
        _check_shape(text)
        # The parser that DVC uses, so that both read the same values.
        content = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        where = error.problem_mark.line + 1 if isinstance(error, MarkedYAMLError) and error.problem_mark else "?"
        what = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise FashionError(f", line {where}, is not YAML: {what}.") from None
    _check_values(content, "")
    return content


def _check_shape(text: str) -> None:
    """Raise FashionError for text whose values would take much memory or time to build, or crash the parser."""
    if len(text) > LONGEST:
        raise FashionError(f" has {len(text):,} characters, and at most {LONGEST:,} are allowed.")
    depth = 0
    # Events are parsed one by one: no recursion, and nothing is built.
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise FashionError(f" is nested more than {DEEPEST} levels deep.")
        if isinstance(event, NodeEvent) and event.anchor:
            # dvc exp run -S would write copies in place of aliases, and change only one of them.
            where = f", line {event.start_mark.line + 1}, has the anchor or alias {event.anchor!r}"
            raise FashionError(f"{where}: write the value in every place, or use `like`.")


def _check_values(value: object, where: str) -> None:
    """Raise FashionError for the first key or value of a type that settings cannot have."""
    match value:
        case dict():
            for key, inside in value.items():
                if not isinstance(key, str | int):
                    raise FashionError(f": {where or 'the file'} has {key!r} as a name, which must be a string.")
                _check_values(inside, f"{where}.{key}" if where else str(key))
        case list():
            for number, inside in enumerate(value):
                _check_values(inside, f"{where}.{number}")
        case int() if abs(value) >= INTEGERS:
            raise FashionError(f": {where} is a whole number of {value.bit_length()} bits: at most 63 are allowed.")
        case float() if not math.isfinite(value):
            raise FashionError(f": {where} is {value}: it must be a finite number.")
        case str() | int() | float() | None:
            pass
        case _:
            raise FashionError(f": {where} is a {type(value).__name__}: write it as a string, in quotes.")


def _completed(raw: Any) -> Any:
    """The settings with each row of `models` merged over the row that `like` names, and over the common settings."""
    match raw:
        case {"models": dict() as models}:
            common = {name: raw[name] for name in ("pixels", "train") if name in raw}
            rows = {key: _merged(common, _like(models, key)) for key in models}
            return raw | {"models": rows}
    return raw


def _like(models: dict[Any, Any], key: Any) -> Any:
    """A row merged over the one that `like` names; its own layers replace all of the other's."""
    row = models[key]
    match row:
        case {"like": name}:
            where = f"{PATH}: models.{key}.like names {name!r}"
            if not (isinstance(name, str) and name in models):
                raise FashionError(f"{where}, which does not exist: {did_you_mean(str(name), map(str, models))} {UNDO}")
            base = models[name]
            if isinstance(base, dict) and "like" in base:
                raise FashionError(f"{where}, which itself has `like`: name the row that it is like. {UNDO}")
            own = {"layers": row["layers"]} if "layers" in row else {}
            return _merged(base, row) | own
    return row


def _merged(base: object, top: object) -> Any:
    if isinstance(base, dict) and isinstance(top, dict):
        return base | {key: _merged(base.get(key), value) for key, value in top.items()}
    return top
