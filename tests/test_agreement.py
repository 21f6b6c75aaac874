"""Mistakes that networks have in common, checked against a case counted by hand."""

import numpy as np
import pytest

from fashion.judging.comparing import agreement

TRUTH = np.array([0, 0, 1, 1, 2, 2, 3, 3])
PREDICTIONS = np.array(
    [
        [0, 1, 1, 2, 2, 0, 3, 3],
        [0, 1, 1, 0, 2, 2, 3, 2],
        [0, 1, 0, 2, 1, 2, 3, 3],
    ]
)


def test_common_mistakes_are_counted() -> None:
    """All three networks are wrong on images 1 and 3, and predict the same class only for image 1."""
    found = agreement(TRUTH, PREDICTIONS)
    assert (found["images"], found["missed"], found["unanimous"].tolist()) == (8, 2, [1])


def test_the_most_frequent_class_wins_the_vote() -> None:
    """The vote is right on six of eight images: 0 and 6, and 2, 4, 5 and 7, where two of three networks are right."""
    assert agreement(TRUTH, PREDICTIONS)["vote"] == 6 / 8


def test_expected_common_mistakes_are_the_product_of_error_rates() -> None:
    """With error rates of 3/8, 3/8 and 4/8, independent networks would all be wrong on 36 of 512 images."""
    assert agreement(TRUTH, PREDICTIONS)["expected"] == pytest.approx(8 * 36 / 512)


def test_a_tie_goes_to_the_lowest_class() -> None:
    """If classes 2 and 1 have one vote each, class 1 wins."""
    assert agreement(np.array([1]), np.array([[2], [1]]))["vote"] == 1
