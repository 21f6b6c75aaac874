"""Stratified, nested splits of the official training images into a training and a validation part."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import shuffle

from fashion.data.datasets import CLASS_COUNT, of_full
from fashion.errors import FashionError


def split(labels: NDArray[np.int64], train: int, validation: int, seed: int) -> pd.DataFrame:
    """Draw a split: a table with the columns index, label, part (validation or train).

    The images are put into one order, in which all first images of any number are stratified. Validation takes them
    from the start, training from the end, so that with one seed a smaller part is in a larger one. The counts are
    stated for 60,000 images and scaled down for a smaller set. Raises FashionError if a part is too small to contain
    every class.
    """
    order = _stratified(labels, seed)
    validation = of_full(validation, len(labels))
    train = min(of_full(train, len(labels)), len(labels) - validation)
    parts = {"validation": order[:validation], "train": order[len(order) - train :]}
    if any(len(np.unique(labels[index])) < CLASS_COUNT for index in parts.values()):
        raise FashionError(
            f"{len(labels)} images cannot be split into {train} and {validation}: each part must contain every class."
        )
    tables = (pd.DataFrame({"index": index, "label": labels[index], "part": part}) for part, index in parts.items())
    return pd.concat(tables, ignore_index=True)


def _stratified(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """All indices in random order, so that the first ones of any number have each class's share of images.

    The k-th of the n images of a class has its place by (k + 1/2) / n.
    """
    shuffled: NDArray[np.int64] = shuffle(np.arange(len(labels)), random_state=seed)
    classes = pd.Series(labels[shuffled])
    of_class = classes.groupby(classes)
    place = (of_class.cumcount() + 0.5) / of_class.transform("size")
    return shuffled[np.argsort(place, kind="stable")]
