"""Scores, checked against cases computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from fashion.judging import scores

TRUTH = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.2, 0.1, 0.7], [0.25, 0.25, 0.5]])
# Six images and predictions with confidence 1.
SIX = (np.array([0, 0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 1, 2, 1]])


def test_overall_scores() -> None:
    """Three of five are right, the loss is the mean -log of the true classes' probabilities, macro F1 that of classes.

    Each end of Wilson's interval is 1.96 of its own standard errors away from the observed share.
    """
    found = scores.overall(TRUTH, PROBABILITIES)
    assert (found["accuracy"], found["correct"], found["images"]) == (0.6, 3, 5)
    assert found["loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.3, 0.9, 0.1, 0.5))) / 5)
    for end in found["interval"]:
        assert abs(0.6 - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 5))
    assert scores.overall(*SIX)["macro_f1"] == pytest.approx((0.8 + 0.4 + 0.0) / 3)


def test_per_class_scores() -> None:
    """Class 1 has two images and two predictions, one of them right; a class never predicted has scores of 0."""
    table = scores.per_class(TRUTH, PROBABILITIES.argmax(1), ["a", "b", "c"])
    assert table[1] == {"class": "b", "precision": 0.5, "recall": 0.5, "f1": 0.5, "images": 2}
    assert [row["images"] for row in table] == [2, 2, 1]
    table = scores.per_class(np.array([0, 1]), np.array([0, 0]), ["a", "b"])
    assert table[1] == {"class": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 1}


def test_calibration_and_its_error() -> None:
    """Confidences fall into bins, 1 into the last one, and the error is the mean distance weighted by images."""
    bins = scores.calibration(TRUTH, PROBABILITIES)
    assert [row["confidence"] for row in bins] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert [(row["accuracy"], row["images"]) for row in bins] == [(1.0, 1), (0.0, 1), (0.0, 1), (1.0, 1), (1.0, 1)]
    assert scores.expected_calibration_error(bins) == pytest.approx((0.5 + 0.6 + 0.7 + 0.2 + 0.1) / 5)
    assert scores.calibration(*SIX) == [{"confidence": 1.0, "accuracy": 0.5, "images": 6}]


def test_worst_mistakes_come_most_confident_first() -> None:
    """The worst mistakes are wrong predictions in descending order of confidence, no more than requested."""
    worst = scores.worst_mistakes(TRUTH, PROBABILITIES, most=5)
    assert [tuple(row.values()) for row in worst] == [(3, 1, 2, 0.7), (1, 0, 1, 0.6)]
    assert [*worst[0]] == ["index", "truth", "prediction", "confidence"]
    found = scores.details(*SIX, ["a", "b", "c"], mistakes=2)
    assert [row["index"] for row in found["mistakes"]] == [2, 4]
    assert [row["f1"] for row in found["classes"]] == pytest.approx([0.8, 0.4, 0.0])
    assert found["calibration_error"] == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 10), st.floats(0.1, 300))
def test_scores_equal_those_of_scikit_learn_and_scipy(seed: int, images: int, classes: int, scale: float) -> None:
    """Loss, F1, precision, recall and interval are those of the libraries, for any predictions, also certain ones."""
    random = np.random.default_rng(seed)
    truth, values = random.integers(classes, size=images), random.normal(scale=scale, size=(images, classes))
    probabilities = softmax(values, 1)
    predictions, names = probabilities.argmax(1), [*range(classes)]
    found = scores.overall(truth, probabilities)
    assert found["loss"] == pytest.approx(log_loss(truth, probabilities, labels=names), rel=1e-12)
    expected = precision_recall_fscore_support(truth, predictions, labels=names, zero_division=0)
    rows = scores.per_class(truth, predictions, [*map(str, names)])
    assert [[*row.values()][1:] for row in rows] == [[*map(float, row)] for row in zip(*expected, strict=True)]
    assert found["macro_f1"] == pytest.approx(expected[2].mean())
    interval = binomtest(found["correct"], images).proportion_ci(method="wilson")
    assert found["interval"] == pytest.approx([interval.low, interval.high], rel=1e-12, abs=1e-15)
