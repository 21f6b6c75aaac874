"""The files that the stage evaluate writes about a training, as types, and their readers."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from fashion.data.datasets import CLASS_COUNT
from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.files import checked, damaged, read_json
from fashion.frames import read_csv
from fashion.settings.description import Fraction, HardwareRecord

Label = Annotated[int, Field(ge=0, lt=CLASS_COUNT)]
Count = Annotated[int, Field(ge=0)]
# Both ends of an interval.
Interval = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
# The columns of a history: a row for each epoch.
HISTORY = {
    "epoch": "int64",
    "learning_rate": "float64",
    "train_accuracy": "float64",
    "train_loss": "float64",
    "validation_accuracy": "float64",
    "validation_loss": "float64",
}


def _inside(overall: "Overall") -> "Overall":
    low, high = overall["interval"]
    if low <= overall["accuracy"] <= high:
        return overall
    raise ValueError("the accuracy is not in its interval")


class Overall(TypedDict):
    """The scores on one part of the data."""

    accuracy: Fraction
    interval: Interval
    loss: float
    macro_f1: Fraction
    correct: Count
    images: Annotated[int, Field(gt=0)]


PartScores = Annotated[Overall, AfterValidator(_inside)]
# `class` cannot be an attribute.
ClassScores = TypedDict(
    "ClassScores", {"class": str, "precision": Fraction, "recall": Fraction, "f1": Fraction, "images": Count}
)


class Bin(TypedDict):
    """The predictions whose confidence is in one bin."""

    confidence: Fraction
    accuracy: Fraction
    images: Count


class Mistake(TypedDict):
    """A wrong prediction for the test image with that index."""

    index: Count
    truth: Label
    prediction: Label
    confidence: Fraction


class LayerRow(TypedDict):
    """A layer: its class, its output's shape for one image, and its number of trainable parameters."""

    name: str
    kind: str
    shape: list[int]
    parameters: Count


class Scores(TypedDict):
    """The scores of a training.

    training: the identity of its description. common_validation: the validation images that all splits have in common.
    """

    model: str
    dataset: str
    split: str
    epoch: int
    seed: int
    training: str
    hardware: HardwareRecord
    torch: str
    parameters: Count
    total_parameters: Count
    flops: Count
    training_flops: Count
    train: PartScores
    validation: PartScores
    common_validation: PartScores
    test: PartScores
    mirrored_test: PartScores
    calibration_error: Fraction
    classes: Annotated[list[ClassScores], Field(min_length=CLASS_COUNT, max_length=CLASS_COUNT)]
    calibration: list[Bin]
    mistakes: list[Mistake]
    layers: list[LayerRow]


def accuracies(scores: Scores) -> dict[str, float]:
    """The accuracy on each part of the data."""
    return {
        "train_accuracy": scores["train"]["accuracy"],
        "validation_accuracy": scores["validation"]["accuracy"],
        "test_accuracy": scores["test"]["accuracy"],
    }


def scores_file(name: str) -> Path:
    """The file with the scores of a training."""
    return Path(f"metrics/evaluate/{name}.json")


def read_scores(name: str, identity: str) -> Scores | None:
    """The scores of a training with that identity; None if there are none, or only those of another training."""
    path = scores_file(name)
    if not path.is_file():
        return None
    content = read_json(path, dict[str, Any])
    return checked(path, content, Scores) if content.get("training") == identity else None


def read_predictions(name: str) -> tuple[Labels, Labels]:
    """The true and the predicted label of each test image."""
    path = Path(f"metrics/predictions/{name}.csv")
    table = read_csv(path, {"truth": "int64", "prediction": "int64"})
    if not len(table) or not table.isin(range(CLASS_COUNT)).all(axis=None):
        raise damaged(path, f"its labels are not all from 0 to {CLASS_COUNT - 1}")
    return table["truth"].to_numpy(), table["prediction"].to_numpy()


def read_all_predictions(names: list[str]) -> tuple[Labels, dict[str, Labels]]:
    """The true label of each test image, and the labels that each training predicts; all on the same images."""
    tables = {name: read_predictions(name) for name in names}
    truth, _ = tables[names[0]]
    for name, (own, _) in tables.items():
        if not np.array_equal(own, truth):
            raise FashionError(
                f"the predictions of {names[0]} and {name} are of other test images: run dvc repro models/dvc.yaml."
            )
    return truth, {name: predicted for name, (_, predicted) in tables.items()}


def read_history(name: str) -> pd.DataFrame:
    """The figures of each epoch of a training, in the columns of HISTORY."""
    path = Path(f"metrics/history/{name}.csv")
    table = read_csv(path, HISTORY)
    if table["epoch"].tolist() != [*range(1, len(table) + 1)]:
        raise damaged(path, "its epochs are not 1, 2, 3 and so on")
    return table
