"""The stage results counts near-duplicates, and refuses inputs that do not belong together."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.files import write_csv, write_json
from fashion.judging.comparing import METHOD
from fashion.judging.neighbours import COLUMNS, TABLE, counts, read_neighbours
from fashion.settings.params import Params
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
