"""The training image that is most like each test image: near-duplicates make a test easier than it looks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.frames import read_csv

TABLE = Path("metrics/neighbours.csv")
# image, neighbour: indices of a test and a training image. mirrored (0 or 1), down, right (pixels): what was done to
# the test image. distance: the root mean square of the differences of the pixels, which are 0 to 255.
COLUMNS = {
    "image": "int64",
    "label": "int64",
    "neighbour": "int64",
    "neighbour_label": "int64",
    "mirrored": "int64",
    "down": "int64",
    "right": "int64",
    "distance": "float64",
}
# Up to this distance a pair counts as near-duplicates: most of them look like two photos of the same piece.
NEAR = 18.0
# Near-duplicates are counted up to each of these distances.
LIMITS = (14.0, NEAR, 22.0)


def read_neighbours(truth: Labels, known: Labels | None = None) -> pd.DataFrame:
    """The neighbour of each test image, in the columns of COLUMNS.

    truth, known: the true labels of the test images, and of the training images, if these are to be compared too.
    """
    table = read_csv(TABLE, COLUMNS)
    if not (np.array_equal(table["label"], truth) and np.array_equal(table["image"], range(len(truth)))):
        raise FashionError(f"{TABLE} is of other test images: run dvc repro models/dvc.yaml:neighbours.")
    if known is not None:
        inside = table["neighbour"].between(0, len(known) - 1).all()
        if not (inside and np.array_equal(known[table["neighbour"]], table["neighbour_label"])):
            raise FashionError(f"{TABLE} is of other training images: run dvc repro models/dvc.yaml:neighbours.")
    return table


def counts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each of LIMITS: how many test images have a neighbour so near, and how many of these another label.

    bound: the accuracy of a network that gives each of them its neighbour's label, and all others the right one.
    """
    rows = []
    for limit in LIMITS:
        near = table[table["distance"] <= limit]
        differ = int((near["label"] != near["neighbour_label"]).sum())
        rows.append({"limit": limit, "near": len(near), "differ": differ, "bound": 1 - differ / len(table)})
    return rows


def read_near(truth: Labels) -> NDArray[np.bool_]:
    """Whether each test image is a near-duplicate of a training image; FashionError if all are."""
    near = (read_neighbours(truth)["distance"] <= NEAR).to_numpy()
    if near.all():
        raise FashionError(f"{TABLE}: every test image is a near-duplicate; choose a data set with other test images.")
    return near
