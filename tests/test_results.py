"""The stage results counts near-duplicates, compares curves, and refuses inputs that do not belong together."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.files import write_json
from fashion.frames import write_csv
from fashion.judging.comparing import METHOD
from fashion.judging.current import trained_on
from fashion.judging.evaluated import HISTORY
from fashion.judging.neighbours import COLUMNS, TABLE, counts, read_neighbours
from fashion.settings.params import Params, Published
from stages import results as stage
from tests.conftest import ROOT, ranked


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two current scores, of lenet5 and fcnn, and 20 images of each part."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    scores: dict[str, Any] = {part: {"accuracy": 0.9} for part in ("train", "validation", "test")}
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    monkeypatch.setattr(stage, "descriptions", dict)
    found = {f"{key}-0": scores | {"model": key} for key in ("lenet5", "fcnn")}
    monkeypatch.setattr(stage, "current", lambda _: (found, []))
    monkeypatch.setattr(stage, "read_part", lambda *_: Part(images, np.arange(20) % 10))


@pytest.mark.parametrize("board", [{}, {"lenet5": 0.9}, {"lenet5": 0.9, "fcnn": 0.8}])
def test_an_older_leaderboard_is_refused(board: dict[str, float]) -> None:
    """A ranking without one of the current networks, or with an older accuracy of it, is refused."""
    write_json(Path("metrics/leaderboard.json"), {key: ranked(key, accuracy) for key, accuracy in board.items()})
    with pytest.raises(
        FashionError, match=r"^metrics/leaderboard.json does not rank the current scores: run dvc repro"
    ):
        stage.results()


HARDWARE = {"device": "cpu", "processor": "AVX512-BF16", "precision": "bf16", "kernels": "portable"}


def test_a_table_that_mixes_devices_says_so() -> None:
    """All trainings alike are one sentence; if not, those that ran elsewhere are counted, and their networks named."""
    here: Any = {"model": "a", "hardware": HARDWARE, "torch": "2.15"}
    there = here | {"model": "b", "hardware": HARDWARE | {"device": "cuda", "processor": "NVIDIA H200"}}
    cpu = "cpu (AVX512-BF16), bf16, portable kernels, torch 2.15"
    assert trained_on({"a-0": here, "a-1": here}) == f"All 2 trainings ran on {cpu}."
    assert trained_on({"b-0": there, "a-0": here, "a-1": here, "b-1": there, "a-2": here}) == (
        f"The trainings did not all run alike, so rows differ by that, too: 3 ran on {cpu}; "
        "2 on cuda (NVIDIA H200), bf16, torch 2.15: b."
    )


def test_a_source_is_compared_with_current_seeds_epoch_by_epoch(params: Params) -> None:
    """A row shows the epochs that chart and trainings both have, and the means of the last ones, if it has both."""
    charted = Published(source="x", validation_curve=[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8])
    published = {"lenet5": charted, "alexnet": charted, "fcnn": Published(source="x")}
    for name, accuracy in {"lenet5-0": 0.9, "lenet5-1": 0.1, "lenet5-2": 0.7}.items():
        history = pd.DataFrame(1.0, index=range(6), columns=[*HISTORY])
        write_csv(Path(f"metrics/history/{name}.csv"), history.assign(epoch=range(1, 7), validation_accuracy=accuracy))
    found: Any = {name: {"validation": {"images": 200}} for name in ("lenet5-0", "lenet5-2", "fcnn-0")}
    compared = stage.curves(params.model_copy(update={"published": published}), found)
    rows = [[accuracy, 0.9, 0.7] for accuracy in (0.5, 0.6, 0.7, 0.8, 0.8, 0.8)]
    # 2 * 0.8 * 0.2 / 200 is the square of 0.04.
    means = {"theirs": pytest.approx(0.74), "ours": pytest.approx(0.8), "chance": pytest.approx(0.04)}
    assert compared == {"lenet5": {"seeds": ["0", "2"], "rows": rows, "images": 200, **means}}


def test_a_leaderboard_of_other_seeds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ranking whose mean lacks a second seed, which is evaluated by now, is refused."""
    write_json(Path("metrics/leaderboard.json"), {key: ranked(key, 0.9) for key in ("lenet5", "fcnn")})
    found, _ = stage.current({})
    later = {part: {"accuracy": 0.91} for part in ("train", "validation", "test")}
    monkeypatch.setattr(stage, "current", lambda _: (found | {"lenet5-1": later}, []))
    with pytest.raises(FashionError, match=r"^metrics/leaderboard.json does not rank the current scores"):
        stage.results()


def test_ablations_of_other_recipes_and_methods_are_left_out(params: Params) -> None:
    """An ablation is shown if it is of the current recipe and judged as now; others, without intervals, are named."""
    trainings = {params.name(key): params.describe(key) for key in ("lenet5", "fcnn", "cnn")}
    whole = {"without": "", "accuracies": [0.9, 0.91], "mean": 0.905, "deviation": 0.007, "p": None}
    older = {"epochs": 3, "seeds": 2, "rows": [whole]}
    newer = {"method": METHOD, "epochs": 3, "seeds": 2, "rows": [whole | {"interval": None}]}
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
