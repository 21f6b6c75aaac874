"""Scores of predictions: accuracy with its interval, loss, per-class scores, calibration, worst mistakes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fashion.data.reading import Labels

# scikit-learn and scipy, with which the tests compare, would take longer to load than a small network to evaluate.

# The number of bins of equal width in confidence; 15 is usual since Guo et al. 2017, arXiv 1706.04599.
BINS = 15
# A normally distributed value is within this many standard deviations of the mean with a probability of 95 %.
DEVIATIONS = 1.959963984540054
# Probabilities are no closer to 0 and 1, so that every logarithm is finite.
EPSILON = float(np.finfo(np.float64).eps)
Probabilities = NDArray[np.float64]


def accuracy(correct: int, images: int) -> dict[str, Any]:
    """The share of correct predictions, its 95 % Wilson interval, and both numbers."""
    share, square = correct / images, DEVIATIONS**2
    twice = 2 * (images + square)
    centre = (2 * images * share + square) / twice
    half = DEVIATIONS / twice * math.sqrt(4 * images * share * (1 - share) + square)
    interval = [max(centre - half, 0.0), min(centre + half, 1.0)]
    return {"accuracy": share, "interval": interval, "correct": correct, "images": images}


def overall(labels: Labels, probabilities: Probabilities) -> dict[str, Any]:
    """Accuracy, its interval, mean cross-entropy in nats and macro F1."""
    predictions = probabilities.argmax(1)
    of_truth = np.clip(probabilities[np.arange(len(labels)), labels], EPSILON, 1 - EPSILON)
    _, _, f1, _ = _of_classes(labels, predictions, probabilities.shape[1])
    return {
        **accuracy(int((predictions == labels).sum()), len(labels)),
        # Not by NumPy's logarithm, whose last digit depends on the processor.
        "loss": -float(np.mean([*map(math.log, of_truth)])),
        "macro_f1": float(f1.mean()),
    }


def training_flops(flops: int, images: int, epochs: int) -> int:
    """The operations of a training, from those of one image's forward pass; a backward pass takes twice as many."""
    return 3 * flops * images * epochs


def details(labels: Labels, probabilities: Probabilities, classes: Sequence[str], mistakes: int) -> dict[str, Any]:
    """Scores of each class, calibration, expected calibration error, and the worst mistakes, at most this many."""
    bins = calibration(labels, probabilities)
    return {
        "calibration_error": expected_calibration_error(bins),
        "classes": per_class(labels, probabilities.argmax(1), classes),
        "calibration": bins,
        "mistakes": worst_mistakes(labels, probabilities, mistakes),
    }


def per_class(labels: Labels, predictions: Labels, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class; 0 if a class is never predicted."""
    columns = _of_classes(labels, predictions, len(classes))
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    ]


def _of_classes(labels: Labels, predictions: Labels, classes: int) -> NDArray[np.float64]:
    """Precision, recall, F1 and number of images of each class: float64 (4, classes)."""
    right = np.bincount(labels[predictions == labels], minlength=classes)
    images, predicted = (np.bincount(values, minlength=classes) for values in (labels, predictions))
    # Where there is nothing to divide by, nothing is right.
    shares = (right / np.maximum(total, 1) for total in (predicted, images, (images + predicted) / 2))
    return np.array([*shares, images])


def calibration(labels: Labels, probabilities: Probabilities) -> list[dict[str, Any]]:
    """Mean confidence, accuracy and number of the predictions in each bin of confidence that is not empty."""
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    # Bins are open below and closed above, as in Guo et al.
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows = []
    for number in np.unique(place):
        inside = place == number
        rows.append(
            {
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(correct[inside].mean()),
                "images": int(inside.sum()),
            }
        )
    return rows


def expected_calibration_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """The mean absolute difference of confidence and accuracy over the bins, weighted by their numbers of images."""
    total = sum(row["images"] for row in bins)
    return float(sum(abs(row["confidence"] - row["accuracy"]) * row["images"] for row in bins) / total)


def worst_mistakes(labels: Labels, probabilities: Probabilities, most: int) -> list[dict[str, Any]]:
    """The wrong predictions of highest confidence, the most confident first: index, truth, prediction, confidence."""
    predictions, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predictions != labels)
    # A stable sort: equal confidences keep the images' order on every machine.
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        {
            "index": int(i),
            "truth": int(labels[i]),
            "prediction": int(predictions[i]),
            "confidence": float(confidence[i]),
        }
        for i in order
    ]
