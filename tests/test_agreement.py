"""Mistakes that networks have in common, checked against a case counted by hand."""

import numpy as np
import pytest

from fashion.judging.comparing import agreement

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
