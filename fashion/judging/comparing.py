"""Comparisons of networks: paired tests on the same images, tests over seeds, and where several fail together."""

from collections.abc import Mapping, Sequence
from itertools import count, product
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import binomtest, ttest_1samp

from fashion.data.reading import Labels

# The level of significance: a result with a smaller p value counts as more than noise.
LEVEL = 0.05
# A verdict about the mean needs this many seeds: the 95 % interval of two reaches nine standard deviations each way.
FEWEST = 3
# A mean this close to a published figure counts as equal to it. Half a point is about what such a figure says itself:
# near 90 % on 10,000 images the 95 % Wilson interval of one accuracy reaches 0.6 points each way, and trainings of one
# published recipe differ by a standard deviation of about 0.3 points. Set when means of three seeds were known.
MARGIN = 0.005
Equality = Literal["equal", "lower", "higher", "undecided"]
# How ablations are judged.
METHOD = "95 % intervals: Student's t of the paired differences. p: exact sign-flip tests, corrected by Holm's method."


class Paired(NamedTuple):
    """The number of images, how many only the second or only the first network gets right, and the p value."""

    images: int
    fixed: int
    broken: int
    p: float

    @property
    def gain(self) -> float:
        """The second network's accuracy minus that of the first."""
        return (self.fixed - self.broken) / self.images

    @property
    def words(self) -> str:
        """The test in words: +0.31 points: of 10,000 images 84 fixed, 53 broken, p = 0.010: more than noise at 5%."""
        counts = f"of {self.images:,} images {self.fixed:,} fixed, {self.broken:,} broken"
        noise = "more" if self.p < LEVEL else "no more"
        return f"{100 * self.gain:+.2f} points: {counts}, p {p_value(self.p, '= ')}: {noise} than noise at {LEVEL:.0%}"


def p_value(p: float, equals: str = "") -> str:
    """A p value with three decimals, after `equals`; < 0.001 if it rounds to zero, four if it rounds to LEVEL."""
    if p < 0.0005:  # noqa: PLR2004 - half of the last decimal
        return "< 0.001"
    return f"{equals}{p:.3f}" if round(p, 3) != LEVEL else f"{equals}{p:.4f}"


def mcnemar(truth: Labels, before: Labels, after: Labels) -> Paired:
    """McNemar's exact test of two networks' predicted labels of the same images.

    p is the two-sided probability that the images on which just one network is right would split at least as unevenly
    if each were a coin toss (McNemar 1947, Psychometrika 12). The test covers chance in the choice of images, not in
    training.
    """
    was, now = before == truth, after == truth
    fixed, broken = int((now & ~was).sum()), int((was & ~now).sum())
    p = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    return Paired(len(truth), fixed, broken, float(p))


def together(tests: Sequence[Paired]) -> list[Paired]:
    """Tests with p values corrected by Holm's method for their number."""
    return [test._replace(p=p) for test, p in zip(tests, holm([test.p for test in tests]), strict=True)]


def by_class(truth: Labels, before: Sequence[Labels], after: Labels) -> list[dict[int, Paired]]:
    """The same test of each class's recall, of one network against each of others; all corrected together."""
    masks = {int(one): truth == one for one in np.unique(truth)}
    tests = iter(together([mcnemar(truth[one], was[one], after[one]) for was in before for one in masks.values()]))
    return [{one: next(tests) for one in masks} for _ in before]


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number: the chance of any false positive stays below the level (Holm 1979)."""
    order = np.argsort(values)
    # The smallest is multiplied by their number, the next by one less, and so on; their order stays the same.
    steps = np.asarray(values)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(p) for p in corrected]


def sign_flip(differences: Sequence[float]) -> float:
    """The two-sided p value of paired differences: the share of all choices of signs with at least as large a sum.

    Exact: of n differences there are 2^n choices, so that p is at least 2 / 2^n (Fisher 1935, The design of
    experiments, section 21). Sums that differ by no more than the rounding of the figures count as equal.
    """
    values = np.asarray(differences)
    signs = np.array([*product((1, -1), repeat=len(values))])
    sums = np.abs(signs @ values)
    # A difference of two rounded figures is off by up to 1e-6, and so are both sums for each value.
    return float((sums >= abs(values.sum()) - 2e-6 * len(values)).mean())


def contributions(whole: Sequence[float], others: Sequence[Sequence[float]]) -> list[tuple[list[float] | None, float]]:
    """What METHOD says of the differences of others from `whole`: the interval of their mean, and p.

    whole, and each of the others: an accuracy for each seed, the same seeds in the same order.
    """
    # Six places, as the accuracies have: equal differences are then equal numbers.
    differences = [np.subtract(other, whole).round(6).tolist() for other in others]
    p_values = holm([sign_flip(one) for one in differences])
    return [(mean_interval(one), p) for one, p in zip(differences, p_values, strict=True)]


def seeds_needed(tests: int) -> int:
    """The least number of seeds with which a sign-flip test can be significant after correction for so many tests."""
    return next(seeds for seeds in count(1) if tests * 2 / 2**seeds < LEVEL)


def mean_interval(values: Sequence[float], confidence: float = 1 - LEVEL) -> list[float] | None:
    """Both ends of Student's t interval of the mean; None unless two values differ, since equal ones show no spread."""
    if len({*values}) < 2:  # noqa: PLR2004 - two values differ
        return None
    low, high = ttest_1samp(values, 0).confidence_interval(confidence)
    return [float(low), float(high)]


def above(values: Sequence[float], figure: float) -> float | None:
    """The one-sided p value of Student's t test that the mean is above a figure.

    None for fewer than FEWEST values, and for equal ones, which show no spread.
    """
    if len(values) < FEWEST or len({*values}) == 1:
        return None
    return float(ttest_1samp(values, figure, alternative="greater").pvalue)


def equality(values: Sequence[float], figure: float, tests: int) -> tuple[list[float] | None, Equality | None]:
    """The interval of the mean that decides whether it equals a figure within MARGIN, and what it says.

    tests: the number of figures tested together. An interval inside the margin stands for two one-sided t tests at
    LEVEL / tests (Schuirmann 1987, TOST, with Bonferroni's correction): its confidence is 1 - 2 LEVEL / tests. If it is
    outside, the mean is lower or higher. Both are None for fewer than FEWEST values and for equal ones.
    """
    interval = mean_interval(values, 1 - 2 * LEVEL / tests) if len(values) >= FEWEST else None
    match interval:
        case [low, high] if figure - MARGIN <= low and high <= figure + MARGIN:
            return interval, "equal"
        case [_, high] if high < figure - MARGIN:
            return interval, "lower"
        case [low, _] if figure + MARGIN < low:
            return interval, "higher"
    return interval, "undecided" if interval else None


def best(validation: Mapping[str, float], networks: Mapping[str, object]) -> list[str]:
    """Names by validation accuracy, the best first, one for each of the networks: test images choose nothing."""
    ranked = sorted(validation, key=lambda name: (-validation[name], name))
    # Reversed, so that the best training of each network is entered last and stays.
    first = {str(networks[name]): name for name in reversed(ranked)}
    return [name for name in ranked if name in first.values()]


def agreement(truth: Labels, predictions: Labels) -> dict[str, Any]:
    """The images that k networks all get wrong, of the same n images.

    truth: (n); predictions: (k, n). Returns `images`, n; `missed`, the number of images that all get wrong;
    `unanimous`, the indices of those with the same wrong prediction; `expected`, the expected value of `missed` if
    mistakes were independent; `vote`, the accuracy of the class predicted most often, the lowest one in a tie.
    """
    wrong = predictions != truth
    missed = wrong.all(0)
    votes = np.array([np.bincount(column).argmax() for column in predictions.T])
    return {
        "images": len(truth),
        "missed": int(missed.sum()),
        "expected": float(len(truth) * wrong.mean(1).prod()),
        "vote": float((votes == truth).mean()),
        "unanimous": np.flatnonzero(missed & (predictions == predictions[0]).all(0)),
    }
