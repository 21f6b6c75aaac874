"""The numbers of the leaderboard, checked against cases counted by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.files import read_json, rounded, write_json
from fashion.frames import write_csv
from fashion.judging.doubtful import TABLE as DOUBTFUL
from fashion.judging.doubtful import doubtful, read_doubtful
from fashion.judging.neighbours import COLUMNS, NEAR, TABLE
from fashion.judging.ranking import BOARD, over_seeds, ranking, read_ranking
from fashion.judging.summaries import Seeds
from fashion.settings.params import MoreSeeds, Params
from tests.conftest import evaluated

TRUTH = np.arange(20) % 10
# fcnn_published has the layers of fcnn.
VALIDATION = {
    "lenet5": 0.95,
    "fcnn": 0.94,
    "fcnn_published": 0.935,
    "cnn": 0.93,
    "convnet": 0.92,
    "alexnet": 0.91,
    "wide_dense": 0.9,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)


def ranked(
    params: Params,
    by_key: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Labels] | None = None,
    common: Mapping[str, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """The leaderboard's rows of networks whose scores are `found`."""
    return {row["model"]: row for row in ranking(params, found(by_key, predicted, common))[0]}


def found(
    by_key: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Labels] | None = None,
    common: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The scores of networks with these accuracies, on validation and test images, one for each seed.

    predicted: by the first seed, by default the true labels. common: the accuracies on the validation images that all
    have in common, by default those on all. The first five test images are near-duplicates.
    """
    table = pd.DataFrame(0, index=range(20), columns=[*COLUMNS]).assign(image=range(20), label=TRUTH)
    write_csv(TABLE, table.assign(distance=np.where(np.arange(20) < 5, NEAR, NEAR + 1)))
    scores: dict[str, Any] = {}
    for key, values in by_key.items():
        labels = (predicted or {}).get(key, TRUTH)
        evaluated(f"{key}-0", TRUTH, labels)
        for seed, value in enumerate(values):
            part = {"accuracy": value, "interval": [0.0, 1.0], "images": len(TRUTH)}
            sizes = {"split": "x", "parameters": 1, "training_flops": 1}
            scores[f"{key}-{seed}"] = sizes | dict.fromkeys(("train", "validation", "test"), part)
            scores[f"{key}-{seed}"]["common_validation"] = part | {"accuracy": (common or {}).get(key, value)}
    return scores


def mistaken(*images: int, by: int = 1) -> Labels:
    """The true labels, but for these images a class that is higher by so much."""
    return np.where(np.isin(np.arange(20), images), (TRUTH + by) % 10, TRUTH)


def test_judges_are_the_best_on_the_same_validation_images(params: Params) -> None:
    """The best on its own validation images does not judge if it is the worst on those that all have in common."""
    own = {key: [accuracy] for key, accuracy in VALIDATION.items()}
    rows = ranked(params, own, common=VALIDATION | {"lenet5": 0.8})
    assert {key for key, row in rows.items() if row["judge"]} == {"fcnn", "cnn", "convnet", "alexnet", "wide_dense"}


def test_near_duplicates_and_one_list_of_doubtful_labels_are_left_out(params: Params) -> None:
    """The five best networks of different layers doubt labels for all: also for themselves, and those that are right.

    They are wrong alike on image 10. Image 11 has one judge that is right, and image 12 one that names a third class.
    The other two are right on 10 and wrong on 13, which no judge is. lenet5 is wrong on image 0, a near-duplicate.
    """
    predicted = {
        "lenet5": mistaken(0, 10, 11, 12),
        "fcnn": mistaken(10, 11, 12),
        "cnn": np.where(np.arange(20) == 12, 5, mistaken(10, 11)),
        "convnet": mistaken(10, 11, 12),
        "alexnet": mistaken(10, 12),
        "fcnn_published": mistaken(13),
        "wide_dense": mistaken(13),
    }
    rows = ranked(params, {key: [accuracy] for key, accuracy in VALIDATION.items()}, predicted)
    assert {key: (row["distinct_accuracy"], row["clear_accuracy"]) for key, row in rows.items()} == {
        "lenet5": (12 / 15, 16 / 19),
        **dict.fromkeys(("fcnn", "cnn", "convnet"), (12 / 15, 17 / 19)),
        "alexnet": (13 / 15, 18 / 19),
        **dict.fromkeys(("fcnn_published", "wide_dense"), (14 / 15, 18 / 19)),
    }
    assert [key for key, row in rows.items() if row["judge"]] == ["lenet5", "fcnn", "cnn", "convnet", "alexnet"]


def test_fewer_than_five_networks_doubt_no_label(params: Params) -> None:
    """Four networks that are wrong alike leave the label as it is, and none is a judge."""
    four = {key: [0.9] for key in ("lenet5", "fcnn", "cnn", "convnet")}
    rows = ranked(params, four, dict.fromkeys(four, mistaken(10)))
    assert {(row["judge"], row["clear_accuracy"]) for row in rows.values()} == {(False, 19 / 20)}


def test_doubtful_labels_are_read_as_written() -> None:
    """The mask has the images of the table, none if that is empty."""
    table = doubtful(TRUTH, [mistaken(3, 19), mistaken(3, 19)])
    assert table.to_numpy().tolist() == [[3, 3, 4], [19, 9, 0]]
    for written, images in ((table, [3, 19]), (doubtful(TRUTH, []), [])):
        write_csv(DOUBTFUL, written)
        assert np.flatnonzero(read_doubtful(TRUTH)).tolist() == images


@pytest.mark.parametrize(
    "rows",
    [
        [[3, 4, 5]],
        [[3, 3, 3]],
        [[3, 3, 10]],
        [[20, 0, 1]],
        [[-1, 9, 1]],
        [[3, 3, 4], [3, 3, 4]],
        [[image, image % 10, (image + 1) % 10] for image in range(20)],
    ],
)
def test_doubtful_labels_of_other_images_are_refused(rows: list[list[int]]) -> None:
    """Refused: other labels, one that nobody doubts, no class, an image that is not there, one twice, all images."""
    write_csv(DOUBTFUL, pd.DataFrame(rows, columns=["image", "label", "prediction"]))
    with pytest.raises(FashionError, match=r"^metrics/doubtful.csv is of other test images: run dvc repro"):
        read_doubtful(TRUTH)


@pytest.mark.parametrize("change", ["row", "distinct_accuracy", "test_accuracy", "seeds", "judge", "doubts"])
def test_a_ranking_of_other_scores_is_refused(params: Params, change: str) -> None:
    """The leaderboard's files are read as its stage writes them, and refused if anything does not follow from scores.

    Cases: a row is missing, its accuracies are others, a seed was evaluated later, a judge or a doubted label is wrong.
    """
    scores = found({key: [accuracy] for key, accuracy in VALIDATION.items()}, dict.fromkeys(VALIDATION, mistaken(10)))
    rows, doubts = ranking(params, scores)
    board: dict[str, Any] = {row["model"]: row for row in rows}
    write_json(BOARD, board)
    write_csv(DOUBTFUL, doubts)
    assert read_ranking(params, scores) == rounded(board)
    if change == "row":
        del board["fcnn"]
    elif change == "seeds":
        scores |= found({"fcnn": [0.94, 0.95]}, {"fcnn": mistaken(10)})
    elif change == "doubts":
        write_csv(DOUBTFUL, doubts[:0])
    else:
        board["fcnn"][change] = change != "judge" and 0.94001
    write_json(BOARD, board)
    with pytest.raises(FashionError, match=r"is not of the current scores: run dvc repro --single-item models/dvc"):
        read_ranking(params, scores)


def test_all_pages_show_the_same_mean() -> None:
    """Mean and deviation have six places on the page, as in its file; otherwise 92.775 % is rounded up there alone."""
    summary = over_seeds([0.929, 0.9265]) | {"p": None}
    write_json(Path("seeds.json"), summary)
    assert read_json(Path("seeds.json"), Seeds) == summary
    assert (summary["mean"], summary["deviation"]) == (0.92775, 0.001768)


def test_tests_against_published_figures_are_corrected_together(params: Params) -> None:
    """Of three tests the smallest p is multiplied by three; what is not published, or has two seeds, is not tested."""
    rows = ranked(
        params,
        {
            "lenet5": [0.93, 0.94, 0.95],
            "alexnet": [0.92, 0.93, 0.94],
            "fcnn": [0.89, 0.90, 0.91],
            "cnn": [0.95, 0.96],
            "champion": [0.95, 0.96, 0.97],
        },
    )
    p_values = {key: row["seeds"]["test"]["p"] for key, row in rows.items()}
    claims = {"lenet5": 0.883, "alexnet": 0.9141, "fcnn": 0.8956}
    means = {"lenet5": 0.94, "alexnet": 0.93, "fcnn": 0.90}
    # Student's t with two degrees of freedom; the deviation is 0.01.
    t = {key: (means[key] - claim) / (0.01 / 3**0.5) for key, claim in claims.items()}
    raw = {key: (1 - one / (2 + one**2) ** 0.5) / 2 for key, one in t.items()}
    assert raw["lenet5"] < raw["alexnet"] < raw["fcnn"]
    expected = {"lenet5": 3 * raw["lenet5"], "alexnet": 2 * raw["alexnet"], "fcnn": raw["fcnn"]}
    assert {key: p for key, p in p_values.items() if p is not None} == pytest.approx(expected)


def test_seeds_that_were_added_later_are_tested_alone(params: Params) -> None:
    """The mean is that of all six seeds; p is that of the last three, of which the first three said nothing."""
    more = params.model_copy(update={"more_seeds": MoreSeeds(models=["lenet5"], seeds=[3, 4, 5])})
    test = ranked(more, {"lenet5": [0.80, 0.81, 0.82, 0.93, 0.94, 0.95]})["lenet5"]["seeds"]["test"]
    alone = ranked(params, {"lenet5": [0.93, 0.94, 0.95]})["lenet5"]["seeds"]["test"]
    assert (test["seeds"], test["mean"], test["p"]) == (6, 0.875, alone["p"])


def test_the_mean_of_the_seeds_decides_the_order(params: Params) -> None:
    """A network whose first seed is the best, and whose others are not, comes after one with a higher mean."""
    rows = ranked(params, {"lenet5": [0.95, 0.85, 0.85], "fcnn": [0.91], "cnn": [0.9, 0.9, 0.9]})
    assert [*rows] == ["fcnn", "cnn", "lenet5"]
    test = rows["lenet5"]["seeds"]["test"]
    # The deviation is 0.1 / sqrt 3, and t is 4.302653 for 95 %.
    assert test["interval"] == pytest.approx([0.883333 - 4.302653 / 30, 0.883333 + 4.302653 / 30], abs=2e-6)
    alone = {"seeds": 1, "mean": 0.91, "interval": None, "deviation": None, "p": None}
    assert rows["fcnn"]["seeds"]["test"] == alone
    assert rows["cnn"]["seeds"]["test"]["interval"] is None
