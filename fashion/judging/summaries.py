"""The rows of the leaderboard, as types."""

from typing import Annotated

from pydantic import Field, FiniteFloat
from typing_extensions import TypedDict

from fashion.judging.evaluated import Count, Interval
from fashion.settings.description import Fraction

# Both ends of an interval that may leave the range of accuracies.
Bounds = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class Seeds(TypedDict):
    """The accuracies of an architecture's trainings with all seeds, on one part of the data.

    interval: the 95 % t interval of the mean; None for one seed and for equal accuracies. deviation: None for one seed.
    p: of the one-sided t test that the mean is above the published accuracy, corrected by Holm's method for all such
    tests of the leaderboard; None if nothing is published, for fewer than three seeds, and for equal accuracies.
    """

    seeds: Count
    mean: Fraction
    interval: Bounds | None
    deviation: FiniteFloat | None
    p: Fraction | None


class BothParts(TypedDict):
    """The accuracies over the seeds, on the parts of the data for which some are published."""

    validation: Seeds
    test: Seeds


class Ranked(TypedDict):
    """A row of the leaderboard.

    seeds: the trainings with all evaluated seeds, by part of the data. The accuracies are those of the training with
    the first seed. common_accuracy: on the validation images that all splits have in common. distinct_accuracy: on the
    test images without near-duplicates. clear_accuracy: on those without a doubtful label. judge: whether it decides
    which labels are doubtful. level_with: those that the first training does not differ from significantly.
    """

    model: str
    split: str
    parameters: Count
    training_flops: Count
    train_accuracy: Fraction
    validation_accuracy: Fraction
    test_accuracy: Fraction
    common_accuracy: Fraction
    test_interval: Interval
    test_images: Count
    distinct_accuracy: Fraction
    clear_accuracy: Fraction
    judge: bool
    published: dict[str, Fraction]
    seeds: BothParts
    level_with: list[str]
