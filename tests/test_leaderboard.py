"""The numbers of the leaderboard, checked against cases counted by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fashion.files import read_json, write_csv, write_json
from fashion.judging.neighbours import COLUMNS, NEAR, TABLE
from fashion.judging.ranking import cleaned, over_seeds
from fashion.judging.summaries import Seeds
from fashion.settings.params import Params

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


def test_images_that_do_not_count_are_left_out(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near-duplicates do not count, nor labels that five other networks, all of other layers, agree are wrong.

    All networks are wrong alike on image 10, and all but wide_dense on image 11, so that only wide_dense's five judges
    doubt its label. lenet5 is also wrong on image 0, a near-duplicate.
    """
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(0, index=range(20), columns=[*COLUMNS]).assign(image=range(20), label=TRUTH)
    write_csv(TABLE, table.assign(distance=np.where(np.arange(20) < 5, NEAR, NEAR + 1)))
    predicted = {key: TRUTH.copy() for key in VALIDATION}
    for key, labels in predicted.items():
        wrong = [10] if key == "wide_dense" else [10, 11]
        labels[wrong] = (TRUTH[wrong] + 1) % 10
    predicted["lenet5"][0] = 9
    found = cleaned(params, VALIDATION, TRUTH, predicted)
    assert {key: (row["distinct_accuracy"], row["clear_accuracy"]) for key, row in found.items()} == {
        "lenet5": (13 / 15, 17 / 19),
        **dict.fromkeys(("fcnn", "fcnn_published", "cnn", "convnet", "alexnet"), (13 / 15, 18 / 19)),
        "wide_dense": (14 / 15, 1.0),
    }


def test_all_pages_show_the_same_mean(tmp_path: Path) -> None:
    """Mean and deviation have six places on the page, as in its file; otherwise 92.775 % is rounded up there alone."""
    summary = over_seeds([0.929, 0.9265], None)
    write_json(tmp_path / "seeds.json", summary)
    assert read_json(tmp_path / "seeds.json", Seeds) == summary
    assert (summary["mean"], summary["deviation"]) == (0.92775, 0.001768)
