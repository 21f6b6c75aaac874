"""On which images several networks fail together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def agreement(truth: Labels, predictions: Labels) -> dict[str, Any]:
    """What k networks make of the same n images, and where all of them are wrong.

    truth: (n); predictions: (k, n). `missed` is how many images all take for a wrong class, `unanimous` the indices of
    those that all take for the same one; `expected` is what `missed` would be on average were their mistakes
    independent; `vote` is the accuracy of the class named most often, the lowest of them in a tie.
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
