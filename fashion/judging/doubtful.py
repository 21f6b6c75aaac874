"""Test images whose label the best networks doubt: one list for all networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashion.data.datasets import CLASS_COUNT
from fashion.data.reading import Labels
from fashion.errors import FashionError, made_by
from fashion.frames import read_csv
from fashion.judging.comparing import best

TABLE, RANK = Path("metrics/doubtful.csv"), "--single-item models/dvc.yaml:leaderboard"
# image: the index of a test image. prediction: the class that all judges name.
COLUMNS = {"image": "int64", "label": "int64", "prediction": "int64"}
# The number of networks that must agree against a label.
JUDGES = 5


def judges(validation: Mapping[str, float], networks: Mapping[str, object]) -> list[str]:
    """The JUDGES best networks on validation images, one for each set of layers; none if there are fewer.

    They judge for all, themselves too: accuracies on different images could not be compared.
    """
    ranked = best(validation, networks)
    return ranked[:JUDGES] if len(ranked) >= JUDGES else []


def doubtful(truth: Labels, predictions: Sequence[Labels]) -> pd.DataFrame:
    """The images for which all judges predict the same other class than the label, in the columns of COLUMNS.

    predictions: of each judge; without judges no label is doubtful.
    """
    if not predictions:
        return pd.DataFrame(columns=[*COLUMNS])
    judged = np.stack(predictions)
    image = np.flatnonzero((judged == judged[0]).all(0) & (judged[0] != truth))
    return pd.DataFrame({"image": image, "label": truth[image], "prediction": judged[0, image]})


def read_doubtful(truth: Labels) -> NDArray[np.bool_]:
    """Whether each test image's label is doubtful; FashionError if the table is of other images, or doubts all."""
    with made_by(RANK):
        table = read_csv(TABLE, COLUMNS)
    image, label, prediction = (table[name].to_numpy() for name in COLUMNS)
    ordered = (np.diff(image, prepend=-1, append=len(truth)) > 0).all() and len(image) < len(truth)
    other = (prediction != label).all() and np.isin(prediction, range(CLASS_COUNT)).all()
    if not (ordered and other and np.array_equal(truth[image], label)):
        raise FashionError(f"{TABLE} is of other test images: run dvc repro {RANK}.")
    return np.isin(np.arange(len(truth)), image)
