"""Paired tests and common mistakes, checked against cases computed by hand and against their definitions."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, permutation_test
from sklearn.metrics import accuracy_score

from fashion.judging.comparing import (
    LEVEL,
    above,
    agreement,
    best,
    by_class,
    contributions,
    equality,
    holm,
    mcnemar,
    mean_interval,
    p_value,
    seeds_needed,
    sign_flip,
)

labels = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=60).map(lambda rows: np.array(rows).T)


def test_a_case_by_hand() -> None:
    """Of six images on which only one network is right, five are fixed: twice (1 + 6) of 64 outcomes are as uneven."""
    before = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1])
    after = np.array([0, 0, 0, 0, 0, 1, 0, 0, 1, 2])
    test = mcnemar(np.zeros(10, dtype=np.int64), before, after)
    assert test == pytest.approx((10, 5, 1, 14 / 64))
    assert test.gain == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("p", "text"), [(0.03125, "0.031"), (0.049513, "0.0495"), (0.0006, "0.001"), (0.0004, "< 0.001"), (0.0, "< 0.001")]
)
def test_a_small_p_value_is_not_shown_as_zero(p: float, text: str) -> None:
    """A p value has three decimals, or four near the level; one that rounds to zero is shown as less than 0.001."""
    assert p_value(p) == text
    assert p_value(p, "= ") == (text if text.startswith("<") else f"= {text}")


@settings(deadline=None, derandomize=True)
@given(labels)
def test_mcnemars_test_is_exact(rows: np.ndarray) -> None:
    """The p value is twice the binomial tail, at most 1; the gain is the change of accuracy; swapping swaps counts."""
    truth, before, after = rows
    test = mcnemar(truth, before, after)
    fewer, both = min(test.fixed, test.broken), test.fixed + test.broken
    assert test.p == pytest.approx(min(1.0, 2 * binom.cdf(fewer, both, 0.5)))
    assert test.gain == pytest.approx(accuracy_score(truth, after) - accuracy_score(truth, before))
    assert mcnemar(truth, after, before) == (test.images, test.broken, test.fixed, test.p)


def test_holm_by_hand() -> None:
    """0.005 is multiplied by four, 0.01 by three and 0.03 by two; 0.04 may not fall below what 0.03 became."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_classes_are_tested_each_on_its_own_images() -> None:
    """After correction for three classes, eight fixed images of a class are more than noise, and one broken is not.

    Against two networks six tests are corrected together.
    """
    truth = np.repeat([0, 1, 2], 8)
    before = np.where(truth == 1, 0, truth)
    after = truth.copy()
    after[-1] = 0
    (tests,) = by_class(truth, [before], after)
    assert list(tests) == [0, 1, 2]
    assert [*map(list, tests.values())] == [[8, 0, 0, 1], [8, 8, 0, pytest.approx(3 * 2 / 2**8)], [8, 0, 1, 1]]
    same, other = by_class(truth, [after, before], after)
    assert [*map(list, same.values())] == [[8, 0, 0, 1]] * 3
    assert [*map(list, other.values())] == [[8, 0, 0, 1], [8, 8, 0, pytest.approx(6 * 2 / 2**8)], [8, 0, 1, 1]]


def test_rounded_differences_keep_their_ties() -> None:
    """Differences of accuracies with six decimals give the p value of the differences of the counts."""
    whole = np.array([11130, 11122, 11137, 11157, 11158, 11113, 11132])
    differences = np.array([-1, 1, 1, 9, 11, 8, 14])
    rounded = ((whole + differences) / 12000).round(6) - (whole / 12000).round(6)
    assert sign_flip(list(rounded)) == sign_flip(list(differences)) == 8 / 128


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-999, 999), min_size=2, max_size=8))
@example([0, 0])
def test_the_sign_flip_test_is_scipys(differences: list[int]) -> None:
    """The p value is that of SciPy's exact permutation test of paired samples, and the other direction has the same."""
    found = permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=2**9)
    assert sign_flip(differences) == pytest.approx(min(1.0, found.pvalue), abs=1e-9)
    assert sign_flip([-one for one in differences]) == sign_flip(differences)


def test_contributions_by_hand() -> None:
    """Nine differences of one sign have p = 2 / 2^9, times three ingredients; mixed ones and zeros have p = 1.

    The first ones are eight of 0.001 and one of 0.002: their mean is 0.01 / 9, and their variance 1e-6 / 9.
    """
    whole = [0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92]
    better = [one + change for one, change in zip(whole, [0.002, *[0.001] * 8], strict=True)]
    mixed = [one + change for one, change in zip(whole, [0.001, -0.001] * 4 + [0.001], strict=True)]
    (first, p), (_, q), (none, r) = contributions(whole, [better, mixed, whole])
    # Student's t with eight degrees of freedom has 2.5 % above 2.306004.
    width = 2.306004 * 0.001 / 9
    assert first == pytest.approx([0.01 / 9 - width, 0.01 / 9 + width])
    assert [p, q, r] == pytest.approx([3 * 2 / 2**9, 1, 1])
    assert none is None


@pytest.mark.parametrize(("tests", "seeds"), [(1, 6), (5, 8), (7, 9), (12, 9), (13, 10)])
def test_enough_seeds_can_be_significant(tests: int, seeds: int) -> None:
    """With so many seeds, all of one sign, one of the tests is significant after correction; with fewer it is not."""
    p_values = {number: holm([sign_flip([0.1] * number), *[1.0] * (tests - 1)])[0] for number in (seeds - 1, seeds)}
    assert seeds_needed(tests) == seeds
    assert p_values[seeds] < LEVEL <= p_values[seeds - 1]


def test_a_mean_above_a_figure_by_hand() -> None:
    """Three values of mean 2 and deviation 1 have t = 2 sqrt 3 for the figure 0."""
    t = 2 * 3**0.5
    # Student's distribution with two degrees of freedom has this tail.
    assert above([1, 2, 3], 0) == pytest.approx((1 - t / (2 + t**2) ** 0.5) / 2)


@pytest.mark.parametrize("values", [[0.9275], [0.9275, 0.9275], [0.9275, 0.9276], [0.9275] * 5])
def test_too_few_or_equal_values_are_no_evidence(values: list[float]) -> None:
    """Fewer than three seeds, however far above, and equal ones, which say nothing of the spread, have no p value."""
    assert above(values, 0.9) is None
    assert (mean_interval(values) is None) == (len({*values}) == 1)


def test_an_interval_of_a_mean_by_hand() -> None:
    """Three values of mean 2 and deviation 1 have the interval 2 ± t / sqrt 3, where t = 4.302653 for 95 %."""
    assert mean_interval([1, 2, 3]) == pytest.approx([2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5])


@pytest.mark.parametrize(
    ("values", "tests", "width", "verdict"),
    [
        # t with two degrees of freedom has 5 % above 2.919986, and 2.5 % above 4.302653.
        ([0.914, 0.916, 0.918], 1, 2.919986 * 0.002 / 3**0.5, "equal"),
        ([0.914, 0.916, 0.918], 2, 4.302653 * 0.002 / 3**0.5, "equal"),
        ([0.913, 0.916, 0.919], 1, 2.919986 * 0.003 / 3**0.5, "undecided"),
        ([0.905, 0.907, 0.909], 1, 2.919986 * 0.002 / 3**0.5, "lower"),
        ([0.905, 0.907, 0.909], 2, 4.302653 * 0.002 / 3**0.5, "undecided"),
        ([0.924, 0.926, 0.928], 1, 2.919986 * 0.002 / 3**0.5, "higher"),
    ],
)
def test_an_equality_is_shown_by_hand(values: list[float], tests: int, width: float, verdict: str) -> None:
    """The interval inside 91.6 % ± 0.5 points shows equality, one outside of it the opposite, and others neither."""
    interval, found = equality(values, 0.916, tests)
    assert interval == pytest.approx([values[1] - width, values[1] + width])
    assert found == verdict


@pytest.mark.parametrize("values", [[0.9166] * 2, [0.9166] * 3, [0.9165, 0.9167]])
def test_too_few_or_equal_values_show_no_equality(values: list[float]) -> None:
    """Two seeds, and equal ones, give no verdict, however close to the figure."""
    assert equality(values, 0.9166, 1) == (None, None)


def test_the_best_of_each_network_come_first() -> None:
    """Of trainings of one network only the best on validation is listed, and equal accuracies keep the names' order."""
    networks = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}, "d": {"x": 3}}
    assert best({"a": 0.8, "b": 0.9, "c": 0.85, "d": 0.9}, networks) == ["b", "d", "c"]


TRUTH = np.array([0, 0, 1, 1, 2, 2, 3, 3])
PREDICTIONS = np.array([[0, 1, 1, 2, 2, 0, 3, 3], [0, 1, 1, 0, 2, 2, 3, 2], [0, 1, 0, 2, 1, 2, 3, 3]])


def test_common_mistakes_are_counted() -> None:
    """All three are wrong on images 1 and 3, and alike only on 1; with their error rates, 36 of 512 would be by chance.

    The vote is right on six of eight images: 0 and 6, and 2, 4, 5 and 7, where two of three networks are right.
    """
    found = agreement(TRUTH, PREDICTIONS)
    assert (found["images"], found["missed"], found["unanimous"].tolist(), found["vote"]) == (8, 2, [1], 6 / 8)
    assert found["expected"] == pytest.approx(8 * 36 / 512)


def test_a_tie_goes_to_the_lowest_class() -> None:
    """If classes 2 and 1 have one vote each, class 1 wins."""
    assert agreement(np.array([1]), np.array([[2], [1]]))["vote"] == 1
