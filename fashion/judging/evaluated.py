"""The files that the stage evaluate writes about a training, as types, and their readers."""

from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, FiniteFloat
from typing_extensions import TypedDict

from fashion.data.datasets import CLASS_COUNT, DATASETS
from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.files import damaged, read_json, rounded
from fashion.frames import parsed, read_csv
from fashion.judging.scores import accuracy, expected_calibration_error, per_class, training_flops
from fashion.settings.description import DatasetName, Fraction, HardwareRecord, Key, Seed, Words

Label = Annotated[int, Field(ge=0, lt=CLASS_COUNT)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
# Both ends of an interval.
Interval = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
# Two figures of six places that are computed from each other differ by less.
ROUNDING = 2e-6
# The columns of a history: a row for each epoch.
HISTORY = {
    "epoch": "int64",
    "learning_rate": "float64",
    "train_accuracy": "float64",
    "train_loss": "float64",
    "validation_accuracy": "float64",
    "validation_loss": "float64",
}


def _of_its_counts(part: "Overall") -> "Overall":
    """Raise ValueError unless accuracy and interval are those of the counts."""
    correct, images = part["correct"], part["images"]
    if correct <= images and rounded(accuracy(correct, images)).items() <= part.items():
        return part
    raise ValueError(f"accuracy and interval are not those of {correct} correct images of {images}")


class Overall(TypedDict):
    """The scores on one part of the data."""

    accuracy: Fraction
    interval: Interval
    loss: FiniteFloat
    macro_f1: Fraction
    correct: Count
    images: Annotated[Count, Field(gt=0)]


PartScores = Annotated[Overall, AfterValidator(_of_its_counts)]
# `class` cannot be an attribute.
ClassScores = TypedDict(
    "ClassScores", {"class": str, "precision": Fraction, "recall": Fraction, "f1": Fraction, "images": Count}
)


class Bin(TypedDict):
    """The predictions whose confidence is in one bin."""

    confidence: Fraction
    accuracy: Fraction
    images: Annotated[Count, Field(gt=0)]


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

    training: the identity of its description. weights: the MD5 sum of their file. common_validation: the validation
    images that all splits have in common.
    """

    model: Key
    dataset: DatasetName
    split: str
    epoch: Annotated[int, Field(gt=0)]
    seed: Seed
    training: str
    weights: str
    hardware: HardwareRecord
    torch: Words
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
    calibration: Annotated[list[Bin], Field(min_length=1)]
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


class Training(TypedDict, total=False):
    """What scores of every version of the code have: the identity of their training's description."""

    training: str


def read_scores(name: str, identity: str) -> Scores | None:
    """The scores of a training with that identity; None if there are none, or only those of another training."""
    path = scores_file(name)
    if not path.is_file() or read_json(path, Training).get("training") != identity:
        return None
    return _stored(name)


def read_predictions(name: str) -> tuple[Labels, Labels]:
    """The true and the predicted label of each test image, of which the scores must be."""
    path, scores = Path(f"metrics/predictions/{name}.csv"), _stored(name)
    try:
        truth, prediction = labels_in(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, error) from None
    classes = per_class(truth, prediction, DATASETS[scores["dataset"]].classes)
    test = accuracy(int((prediction == truth).sum()), len(truth)) | {"macro_f1": fmean(one["f1"] for one in classes)}
    labels = dict(enumerate(zip(truth.tolist(), prediction.tolist(), strict=True)))
    mistakes = all(labels.get(one["index"]) == (one["truth"], one["prediction"]) for one in scores["mistakes"])
    if not (mistakes and rounded(classes) == scores["classes"] and rounded(test).items() <= scores["test"].items()):
        raise damaged(path, f"{scores_file(name)} is not of these labels")
    return truth, prediction


def labels_in(text: str) -> tuple[Labels, Labels]:
    """The true and the predicted labels in a file's text; ValueError, which says what is wrong, if there are none."""
    table = parsed(text, {"truth": "int64", "prediction": "int64"})
    if not len(table) or not table.isin(range(CLASS_COUNT)).all(axis=None):
        raise ValueError(f"its labels are not all from 0 to {CLASS_COUNT - 1}")
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
    """The figures of each epoch of a training, in the columns of HISTORY; the scores must be of its best epoch."""
    path, scores = Path(f"metrics/history/{name}.csv"), _stored(name)
    table = read_csv(path, HISTORY)
    if table["epoch"].tolist() != [*range(1, len(table) + 1)]:
        raise damaged(path, "its epochs are not 1, 2, 3 and so on")
    best = table.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True], kind="stable")
    operations = training_flops(scores["flops"], scores["train"]["images"], len(table))
    if operations != scores["training_flops"] or best["epoch"].iloc[0] != scores["epoch"]:
        raise damaged(path, f"{scores_file(name)} is not of these epochs")
    return table


def _stored(name: str) -> Scores:
    """The scores in a training's file; FashionError if they are another one's, or contradict themselves."""
    path = scores_file(name)
    scores = read_json(path, Scores)
    error, images = expected_calibration_error(scores["calibration"]), scores["test"]["images"]
    for what, holds in {
        "the training": f"{scores['model']}-{scores['seed']}" == name,
        "the classes": tuple(one["class"] for one in scores["classes"]) == DATASETS[scores["dataset"]].classes,
        "the parameters": scores["parameters"] == sum(layer["parameters"] for layer in scores["layers"]),
        "the number of mirrored images": scores["mirrored_test"]["images"] == images,
        "the number of images in bins": sum(one["images"] for one in scores["calibration"]) == images,
        "the calibration error": abs(scores["calibration_error"] - error) < ROUNDING,
    }.items():
        if not holds:
            raise damaged(path, f"{what} is not what the rest says")
    return scores
