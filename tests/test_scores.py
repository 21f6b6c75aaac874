"""Scores, checked against cases computed by hand."""

import math

import numpy as np
import pytest

from fashion.judging import scores

TRUTH = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.3, 0.6, 0.1],
        [0.05, 0.9, 0.05],
        [0.2, 0.1, 0.7],
        [0.25, 0.25, 0.5],
    ]
)


def test_accuracy_and_loss() -> None:
    """Three of five are right, and the loss is the mean negative logarithm of the true classes' probabilities."""
    found = scores.overall(TRUTH, PROBABILITIES)
    assert (found["accuracy"], found["correct"], found["images"]) == (0.6, 3, 5)
    assert found["loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.3, 0.9, 0.1, 0.5))) / 5)


def test_the_interval_is_wilsons() -> None:
    """Each end of the interval is 1.96 of its own standard errors away from the observed share."""
    low, high = scores.overall(TRUTH, PROBABILITIES)["interval"]
    for end in (low, high):
        assert abs(0.6 - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 5))


def test_per_class_scores() -> None:
    """Class 1 has two images and two predictions, of which one is right: all its scores are 0.5."""
    table = scores.per_class(TRUTH, PROBABILITIES.argmax(1), ["a", "b", "c"])
    assert table[1] == {"class": "b", "precision": 0.5, "recall": 0.5, "f1": 0.5, "images": 2}
    assert [row["images"] for row in table] == [2, 2, 1]


def test_macro_f1() -> None:
    """Macro F1 is the unweighted mean over classes: here of 0.8, 0.4 and 0."""
    found = scores.overall(np.array([0, 0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 1, 2, 1]])
    assert found["macro_f1"] == pytest.approx((0.8 + 0.4 + 0.0) / 3)


def test_details_combine_the_scores() -> None:
    """Half of six predictions with confidence 1 are right, and the worst mistakes are the first that are wrong."""
    found = scores.details(np.array([0, 0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 1, 2, 1]], ["a", "b", "c"], mistakes=2)
    assert [row["f1"] for row in found["classes"]] == pytest.approx([0.8, 0.4, 0.0])
    assert found["calibration_error"] == pytest.approx(0.5)
    assert [row["index"] for row in found["mistakes"]] == [2, 4]


def test_a_class_that_is_never_predicted_scores_zero() -> None:
    """A class that is never predicted has scores of 0, without a warning."""
    table = scores.per_class(np.array([0, 1]), np.array([0, 0]), ["a", "b"])
    assert table[1] == {"class": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 1}


def test_calibration_and_its_error() -> None:
    """Confidences 0.5 to 0.9 fall into separate bins, and the error is the mean distance weighted by images."""
    bins = scores.calibration(TRUTH, PROBABILITIES)
    assert [(row["confidence"], row["accuracy"], row["images"]) for row in bins] == [
        (pytest.approx(confidence), right, 1)
        for confidence, right in ((0.5, 1.0), (0.6, 0.0), (0.7, 0.0), (0.8, 1.0), (0.9, 1.0))
    ]
    expected = (0.5 + 0.6 + 0.7 + 0.2 + 0.1) / 5
    assert scores.expected_calibration_error(bins) == pytest.approx(expected)


def test_certainty_falls_into_the_last_bin() -> None:
    """A confidence of exactly 1 falls into the last bin."""
    assert scores.calibration(np.array([0]), np.array([[1.0, 0.0]])) == [
        {"confidence": 1.0, "accuracy": 1.0, "images": 1}
    ]


def test_worst_mistakes_come_most_confident_first() -> None:
    """The worst mistakes are wrong predictions in descending order of confidence, no more than requested."""
    worst = scores.worst_mistakes(TRUTH, PROBABILITIES, most=5)
    assert worst == [
        {"index": 3, "truth": 1, "prediction": 2, "confidence": 0.7},
        {"index": 1, "truth": 0, "prediction": 1, "confidence": 0.6},
    ]
    assert scores.worst_mistakes(TRUTH, PROBABILITIES, most=1) == worst[:1]
