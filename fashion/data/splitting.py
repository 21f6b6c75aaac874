"""Stratified splits of the official training images into a training and a validation part."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from fashion.data.datasets import FULL
from fashion.errors import FashionError


def split(labels: NDArray[np.int64], train: int, validation: int, seed: int) -> pd.DataFrame:
    """Draw a stratified split: a table with the columns index (ascending), label, part (train or validation).

    The counts are stated for 60,000 images and scaled down for a smaller set. Raises FashionError if a part, or what is
    left over, is too small to contain every class.
    """
    share = min(1.0, len(labels) / FULL)
    train, both = round(train * share), round((train + validation) * share)
    index = np.arange(len(labels))
    try:
        if both < len(labels):
            index, _ = train_test_split(index, train_size=both, stratify=labels[index], random_state=seed)
        training, _ = train_test_split(index, train_size=train, stratify=labels[index], random_state=seed)
    except ValueError:
        raise FashionError(
            f"{len(labels)} images cannot be split into {train} and {both - train}: "
            "each part, and the images left over if any, must contain every class."
        ) from None
    manifest = pd.DataFrame({"index": np.sort(index)})
    manifest["label"] = labels[manifest["index"]]
    manifest["part"] = np.where(manifest["index"].isin(training), "train", "validation")
    return manifest
