"""What is written about trainings is read only if it agrees with what lies beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fashion.errors import FashionError
from fashion.files import rounded, write_json
from fashion.judging.ablations import ingredients, read_ablation
from fashion.judging.comparing import METHOD
from fashion.judging.evaluated import read_all_predictions, read_history, read_predictions, read_scores
from fashion.judging.scores import accuracy
from tests.conftest import evaluated

TRUTH = np.arange(200) % 10
NAME, SCORES = "lenet5-0", Path("metrics/evaluate/lenet5-0.json")


def mistaken(*images: int) -> Any:
    """The true labels, but for these images the next class."""
    return np.where(np.isin(np.arange(200), images), (TRUTH + 1) % 10, TRUTH)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what was evaluated of a training of three epochs, and of another one."""
    monkeypatch.chdir(tmp_path)
    evaluated(NAME, TRUTH, mistaken(3, 50, 51), training="its own", epochs=3)
    evaluated("cnn-0", TRUTH, mistaken(3, 60, 71), training="its own", epochs=3)


def test_what_agrees_is_read() -> None:
    """Scores, predictions and history of one training are read as they were written."""
    scores = read_scores(NAME, "its own")
    assert scores
    assert (scores["test"]["correct"], scores["epoch"]) == (197, 1)
    assert read_scores(NAME, "another") is None
    truth, predicted = read_all_predictions([NAME, "cnn-0"])
    assert np.array_equal(truth, TRUTH)
    assert np.array_equal(predicted["cnn-0"], mistaken(3, 60, 71))
    assert read_history(NAME)["epoch"].tolist() == [1, 2, 3]


# What a damaged file of scores has in place of the written value.
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an accuracy in its interval": lambda scores: scores["train"].update(accuracy=0.98),
    "an interval": lambda scores: scores["test"].update(interval=[0.0, 1.0]),
    "more correct than images": lambda scores: scores["test"].update(correct=201),
    "parameters": lambda scores: scores.update(parameters=11),
    "a layer's parameters": lambda scores: scores["layers"][0].update(parameters=9),
    "another training": lambda scores: scores.update(model="cnn"),
    "another seed": lambda scores: scores.update(seed=1),
    "a class": lambda scores: scores["classes"][0].update({"class": "<script>"}),
    "the mirrored images": lambda scores: scores.update(mirrored_test=part(98, 100)),
    "the calibration error": lambda scores: scores.update(calibration_error=0.1),
    "a bin's images": lambda scores: scores["calibration"][0].update(images=199),
    "no bin": lambda scores: scores.update(calibration=[]),
    "an infinite loss": lambda scores: scores["test"].update(loss=1e999),
    "a number too large for 64 bits": lambda scores: scores.update(flops=2**63),
    "markup": lambda scores: scores.update(torch="<b>"),
    "no hardware": lambda scores: scores.update(hardware={}),
}


def part(correct: int, images: int) -> dict[str, Any]:
    """The scores on one part of the data that consist with these counts."""
    counted: dict[str, Any] = rounded(accuracy(correct, images))
    return counted | {"loss": 0.1, "macro_f1": 0.9}


@pytest.mark.parametrize("change", CHANGES)
def test_scores_that_contradict_themselves_are_refused(change: str) -> None:
    """A figure that does not follow from the counts beside it, or that no evaluation writes, is damage."""
    scores = json.loads(SCORES.read_text())
    CHANGES[change](scores)
    SCORES.write_text(json.dumps(scores))
    with pytest.raises(FashionError, match=r"^metrics/evaluate/lenet5-0\.json is damaged"):
        read_scores(NAME, "its own")


def test_predictions_of_another_training_are_refused() -> None:
    """Predictions copied over those of another training with as many mistakes are not those of its scores."""
    Path("metrics/predictions/cnn-0.csv").write_text(Path(f"metrics/predictions/{NAME}.csv").read_text())
    with pytest.raises(FashionError, match=r"^metrics/predictions/cnn-0\.csv is damaged .*cnn-0\.json is not of these"):
        read_predictions("cnn-0")


def test_scores_of_other_predictions_are_refused() -> None:
    """Counts that agree with each other, but not with the predictions, are refused with these."""
    scores = json.loads(SCORES.read_text())
    write_json(SCORES, scores | {"test": part(198, 200)})
    with pytest.raises(FashionError, match="is not of these labels"):
        read_predictions(NAME)
    write_json(SCORES, scores | {"mistakes": [scores["mistakes"][0] | {"index": 10**9}]})
    with pytest.raises(FashionError, match="is not of these labels"):
        read_predictions(NAME)


@pytest.mark.parametrize("lines", [[0, 1, 2], [0, 2, 3], [0, 1, 2, 3, 3]], ids=["fewer", "not from 1 on", "twice"])
def test_a_history_of_other_epochs_is_refused(lines: list[int]) -> None:
    """A history lacks no epoch that the operations of the training count, and has none twice."""
    path = Path(f"metrics/history/{NAME}.csv")
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[line] for line in lines))
    with pytest.raises(FashionError, match=r"^metrics/history/lenet5-0\.csv is damaged"):
        read_history(NAME)


def test_a_history_with_another_best_epoch_is_refused() -> None:
    """The scores are of the epoch with the best validation accuracy in the history."""
    path = Path(f"metrics/history/{NAME}.csv")
    first, *rows = path.read_text().splitlines()
    rows[1] = "2,0.5,0.5,0.5,0.6,0.5"
    path.write_text("\n".join([first, *rows, ""]))
    with pytest.raises(FashionError, match="is not of these epochs"):
        read_history(NAME)


ABLATION = Path("metrics/ablation/cnn.json")
ACCURACIES = {"": [0.9, 0.91, 0.92], "warmup": [0.89, 0.91, 0.9]}


def ablation(**changes: Any) -> dict[str, Any]:
    """An ablation of cnn, with changes."""
    what = {"model": "cnn", "training": "its own", "method": METHOD, "epochs": 3, "seeds": 3}
    return what | {"rows": ingredients(ACCURACIES)} | changes


def test_an_ablation_is_read_as_written() -> None:
    """The file of the recipe and the method of today is read; those of others are none."""
    write_json(ABLATION, ablation())
    found = read_ablation(ABLATION, "its own")
    assert found
    assert [row["without"] for row in found["rows"]] == ["", "warmup"]
    assert read_ablation(ABLATION, "another") is None
    write_json(ABLATION, {"training": "its own"})
    assert read_ablation(ABLATION, "its own") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "lenet5"},
        {"seeds": 2},
        {"seeds": 10**30},
        *({"rows": [ablation()["rows"][0], ablation()["rows"][1] | {name: value}]} for name, value in (
            ("p", None), ("p", 0.001), ("mean", 0.91), ("deviation", 0.0), ("interval", None), ("without", ""),
            ("accuracies", [0.9]), ("accuracies", [0.5] * 17),
        )),
    ],
    ids=str,
)  # fmt: skip
def test_an_ablation_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    """Means, intervals and p values that do not follow from the accuracies are damage."""
    write_json(ABLATION, ablation(**changes))
    with pytest.raises(FashionError, match=r"^metrics/ablation/cnn\.json is damaged"):
        read_ablation(ABLATION, "its own")
