"""Where networks fail together, against a case counted by hand."""

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
    """All three miss images 1 and 3, and only of image 1 do they say the same."""
    found = agreement(TRUTH, PREDICTIONS)
    assert (found["images"], found["missed"], found["unanimous"].tolist()) == (8, 2, [1])


def test_the_most_frequent_class_wins_the_vote() -> None:
    """Two of three are right on images 2, 4, 5 and 7, on which the third is alone: six of eight."""
    assert agreement(TRUTH, PREDICTIONS)["vote"] == 6 / 8


def test_chance_alone_would_give_the_product_of_the_errors() -> None:
    """With error rates of 3, 3 and 4 of 8, chance makes all three miss 36 of 512 images."""
    assert agreement(TRUTH, PREDICTIONS)["expected"] == pytest.approx(8 * 36 / 512)


def test_a_tie_goes_to_the_lowest_class() -> None:
    """Classes 2 and 1 have a vote each: 1 it is."""
    assert agreement(np.array([1]), np.array([[2], [1]]))["vote"] == 1
