"""Whether two networks differ by more than chance on the images that both have judged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

# What is rarer than this under chance alone counts as more than noise.
LEVEL = 0.05
Labels = NDArray[np.int64]


class Paired(NamedTuple):
    """How many images there are, how many only the second network or only the first has right, and the p value."""

    images: int
    fixed: int
    broken: int
    p: float

    @property
    def gain(self) -> float:
        """The second network's accuracy minus the first one's."""
        return (self.fixed - self.broken) / self.images

    @property
    def words(self) -> str:
        """The test in words: +0.31 points: of 10,000 images 84 fixed, 53 broken, p = 0.010: more than noise at 5%."""
        counts = f"of {self.images:,} images {self.fixed:,} fixed, {self.broken:,} broken"
        p = f"p = {self.p:.3f}".replace("= 0.000", "< 0.001")
        noise = "more" if self.p < LEVEL else "no more"
        return f"{100 * self.gain:+.2f} points: {counts}, {p}: {noise} than noise at {LEVEL:.0%}"


def mcnemar(truth: Labels, before: Labels, after: Labels) -> Paired:
    """McNemar's exact test of two networks' predicted labels of the same images.

    p is the two-sided probability that images on which just one is right fall at least as unevenly, were each a toss
    of a coin (McNemar 1947, Psychometrika 12). The images' chance is tested, not the trainings': another seed is one
    more draw.
    """
    was, now = before == truth, after == truth
    fixed, broken = int((now & ~was).sum()), int((was & ~now).sum())
    p = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    return Paired(len(truth), fixed, broken, float(p))


def by_class(truth: Labels, before: Labels, after: Labels) -> dict[int, Paired]:
    """The same test of each class's recall, with p corrected for as many tests as there are classes."""
    classes = np.unique(truth)
    tests = [mcnemar(truth[mine], before[mine], after[mine]) for mine in (truth == one for one in classes)]
    corrected = holm([test.p for test in tests])
    return {int(one): test._replace(p=p) for one, test, p in zip(classes, tests, corrected, strict=True)}


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number: the chance of any false alarm stays below the level (Holm 1979)."""
    order = np.argsort(values)
    # The smallest counts as often as there are values, the next one time less, and none less than a smaller one.
    steps = np.asarray(values)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(p) for p in corrected]
