"""What stages and tools write about several trainings together, as types."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from fashion.judging.evaluated import Count, Interval
from fashion.settings.description import Fraction


class Ranked(TypedDict):
    """A row of the leaderboard."""

    model: str
    split: str
    parameters: Count
    training_flops: Count
    train_accuracy: Fraction
    validation_accuracy: Fraction
    test_accuracy: Fraction
    test_interval: Interval
    test_images: Count
    published: dict[str, Fraction]
    repeats: dict[str, float]
    level_with: list[str]


class Ingredient(TypedDict):
    """A recipe without one ingredient, or whole: validation accuracies of several seeds."""

    without: str
    accuracies: list[Fraction]
    mean: Fraction
    # One seed has no standard deviation.
    deviation: float | None


class Ablation(TypedDict):
    """What each ingredient of a recipe contributes; the first row is the whole recipe."""

    model: str
    training: str
    epochs: Count
    seeds: Count
    rows: Annotated[list[Ingredient], Field(min_length=1)]
