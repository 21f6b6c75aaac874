"""What each ingredient of a recipe contributes: validation accuracies with and without it."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

from pydantic import Field, FiniteFloat
from typing_extensions import TypedDict

from fashion.files import damaged, read_json, rounded
from fashion.judging.comparing import METHOD, contributions
from fashion.judging.evaluated import Count
from fashion.judging.summaries import Bounds
from fashion.settings.description import Fraction

# As many as the tool takes: a sign-flip test has 2 to the power of their number of cases.
MOST_SEEDS = 16


class Ingredient(TypedDict):
    """A recipe without one ingredient, or whole: validation accuracies of several seeds.

    interval: of the mean difference from the whole recipe under the same seeds; None for equal differences. p: of the
    test that there is a difference. Both are None for the whole recipe.
    """

    without: str
    accuracies: Annotated[list[Fraction], Field(min_length=2, max_length=MOST_SEEDS)]
    mean: Fraction
    deviation: FiniteFloat
    interval: Bounds | None
    p: Fraction | None


class Origin(TypedDict, total=False):
    """What ablations of every version of the code have: how intervals and p values were computed, and of what."""

    training: str
    method: str


class Ablation(TypedDict):
    """What each ingredient of a recipe contributes; the first row is the whole recipe.

    training: the identity of the description with the first seed. method: how intervals and p values were computed.
    """

    model: str
    training: str
    method: str
    epochs: Count
    seeds: Count
    rows: Annotated[list[Ingredient], Field(min_length=1)]


def ingredients(accuracies: Mapping[str, list[float]]) -> list[Ingredient]:
    """The rows of an ablation: the whole recipe, which comes first, and without each ingredient, compared with it."""
    whole, *others = accuracies.values()
    tests = [(None, None), *contributions(whole, others)]
    return [
        {
            "without": without,
            "accuracies": values,
            "mean": fmean(values),
            "deviation": stdev(values),
            "interval": interval,
            "p": p,
        }
        for (without, values), (interval, p) in zip(accuracies.items(), tests, strict=True)
    ]


def read_ablation(path: Path, identity: str) -> Ablation | None:
    """The ablation of the recipe with that identity, by METHOD; None if the file has another one."""
    if read_json(path, Origin) != {"training": identity, "method": METHOD}:
        return None
    ablation = read_json(path, Ablation)
    accuracies = {row["without"]: row["accuracies"] for row in ablation["rows"]}
    same = ablation["model"] == path.stem and {ablation["seeds"]} == {*map(len, accuracies.values())}
    if not same or rounded(ingredients(accuracies)) != ablation["rows"]:
        raise damaged(path, "its figures are not those of its accuracies")
    return ablation
