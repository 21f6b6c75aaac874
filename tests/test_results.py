"""The stage results counts near-duplicates, compares curves, and refuses inputs that do not belong together."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashion.errors import FashionError
from fashion.files import write_json
from fashion.frames import read_csv, write_csv
from fashion.judging.ablations import ingredients
from fashion.judging.comparing import METHOD
from fashion.judging.current import trained_on
from fashion.judging.evaluated import HISTORY
from fashion.judging.neighbours import COLUMNS, TABLE, counts, read_neighbours
from fashion.settings.params import Params, Published
from stages import results as stage
from tests.conftest import evaluated


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)


HARDWARE = {"device": "cpu", "processor": "AVX512-BF16", "precision": "bf16", "kernels": "portable"}


def test_a_table_says_where_its_rows_were_trained() -> None:
    """All trainings alike are one sentence; if not, those that ran elsewhere are counted, and their networks named."""
    here: Any = {"model": "a", "hardware": HARDWARE, "torch": "2.15"}
    there = here | {"model": "b", "hardware": HARDWARE | {"device": "cuda", "processor": "NVIDIA H200"}}
    cpu = "cpu (AVX512-BF16), bf16, portable kernels, torch 2.15"
    assert trained_on({"a-0": here, "a-1": here}) == f"All 2 trainings ran on {cpu}."
    assert trained_on({"b-0": there, "a-0": here, "a-1": here, "b-1": there, "a-2": here}) == (
        f"3 trainings ran on {cpu}; 2 on cuda (NVIDIA H200), bf16, torch 2.15: b."
    )


def test_a_source_is_compared_with_current_seeds_epoch_by_epoch(params: Params) -> None:
    """A row shows the epochs that chart and trainings both have, and the means of the last ones, if it has both."""
    charted = Published(source="x", validation_curve=[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8])
    published = {"lenet5": charted, "alexnet": charted, "fcnn": Published(source="x")}
    for name, accuracy in {"lenet5-0": 0.9, "lenet5-1": 0.1, "lenet5-2": 0.7}.items():
        evaluated(name, np.zeros(1, np.int64), np.zeros(1, np.int64), epochs=6)
        path = Path(f"metrics/history/{name}.csv")
        write_csv(path, read_csv(path, HISTORY).assign(validation_accuracy=accuracy))
    found: Any = {name: {"validation": {"images": 200}} for name in ("lenet5-0", "lenet5-2", "fcnn-0")}
    compared = stage.curves(params.model_copy(update={"published": published}), found)
    rows = [[accuracy, 0.9, 0.7] for accuracy in (0.5, 0.6, 0.7, 0.8, 0.8, 0.8)]
    # 2 * 0.8 * 0.2 / 200 is the square of 0.04.
    means = {"theirs": pytest.approx(0.74), "ours": pytest.approx(0.8), "chance": pytest.approx(0.04)}
    assert compared == {"lenet5": {"seeds": ["0", "2"], "rows": rows, "images": 200, **means}}


def test_ablations_of_other_recipes_and_methods_are_left_out(params: Params) -> None:
    """An ablation is shown if it is of the current recipe and judged as now; others, without intervals, are named."""
    trainings = {params.name(key): params.describe(key) for key in ("lenet5", "fcnn", "cnn")}
    older = {"epochs": 3, "seeds": 2, "rows": ingredients({"": [0.9, 0.91], "warmup": [0.9, 0.9]})}
    newer = older | {"method": METHOD}
    for key, training, form in (
        ("lenet5", trainings["lenet5-0"].identity, older),
        ("fcnn", trainings["fcnn-0"].identity, newer),
        ("cnn", "of another recipe", newer),
    ):
        write_json(Path(f"metrics/ablation/{key}.json"), {"model": key, "training": training, **form})
    found, other = stage._ablations(params, trainings)
    assert ([one["model"] for one in found], other) == (["fcnn"], ["cnn", "lenet5"])


def test_near_duplicates_are_counted() -> None:
    """A distance equal to a limit counts; only another label than the neighbour's lowers the highest accuracy."""
    test = np.arange(20) % 10
    distance = np.array([5.0, 14.0, 14.0001, 18.0, 18.0001, 22.0, *[30.0] * 14])
    table = pd.DataFrame(0, index=range(20), columns=[*COLUMNS]).assign(image=range(20), label=test)
    # Images 1, 3 and 19 have another label than their neighbour.
    neighbour = np.arange(20) + np.isin(np.arange(20), (1, 3)) - (np.arange(20) == 19)
    write_csv(TABLE, table.assign(neighbour=neighbour, neighbour_label=test[neighbour], distance=distance))
    assert counts(read_neighbours(test, test)) == [
        {"limit": 14.0, "near": 2, "differ": 1, "bound": 0.95},
        {"limit": 18.0, "near": 4, "differ": 2, "bound": 0.9},
        {"limit": 22.0, "near": 6, "differ": 2, "bound": 0.9},
    ]


@pytest.mark.parametrize("wrong", [{"neighbour": 20}, {"neighbour": -1}, {"neighbour_label": 9}])
def test_neighbours_of_other_training_images_are_refused(wrong: dict[str, int]) -> None:
    """A neighbour that is none of the training images, or that has another label, is of other data."""
    test = np.arange(20) % 10
    table = pd.DataFrame(0, index=range(20), columns=[*COLUMNS]).assign(image=range(20), label=test)
    write_csv(TABLE, table.assign(**wrong))
    with pytest.raises(FashionError, match=r"^metrics/neighbours.csv is of other training images: run dvc repro"):
        read_neighbours(test, test)


@pytest.mark.parametrize("seconds", [None, {}, {"make setup": []}, {"make setup": [1], "make repro": ["x"]}])
def test_timings_of_another_form_are_refused(seconds: object) -> None:
    """Measurements without one of the commands that README lists, or without seconds, are damage."""
    write_json(stage.WAITING, {"machine": "x", "seconds": seconds})
    with pytest.raises(FashionError, match=r"^benchmarks/pipeline\.json is damaged"):
        stage._waiting()
