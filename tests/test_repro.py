"""The pipeline once, as a new user runs it: real DVC in a copy of the project, on `digits`."""

import csv
import json
import re
import sys
from pathlib import Path

import psutil
import pytest

from fashion.showing.pages import percent
from tests.conftest import Workspace


@pytest.fixture(scope="module")
def built(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[str]]:
    """A copy with one epoch for each architecture, after `dvc repro`, committed; and the stages that it ran."""
    workspace = checkout.copy(tmp_path_factory.mktemp("built") / "project")
    workspace.small(epochs=1)
    ran = workspace.stages("repro")
    workspace.commit("lenet5 on digits")
    return workspace, ran


def test_repro_builds_the_chosen_model_and_nothing_else(built: tuple[Workspace, list[str]]) -> None:
    """`dvc repro` runs the shared stages and the stages of lenet5."""
    workspace, ran = built
    assert ran == ["check", "download", "evaluate@lenet5-0", "report", "samples", "split", "train@lenet5-0"]
    report = workspace.json("metrics/report.json")
    assert (report["model"], report["split"], report["parameters"]) == ("lenet5", "holdout_6k", 44_426)
    with (workspace.folder / "plots/curves.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    scores = workspace.json("metrics/evaluate/lenet5-0.json")
    # One epoch; the backward pass takes twice as many operations as the forward pass.
    assert scores["training_flops"] == 3 * scores["flops"] * scores["train"]["images"]


def test_the_page_shows_everything_and_fetches_nothing(built: tuple[Workspace, list[str]]) -> None:
    """The report's page shows its accuracy, layers, classes and settings, and links to nothing outside it."""
    workspace, _ = built
    page = (workspace.folder / "plots/report.html").read_text()
    scores = workspace.json("metrics/evaluate/lenet5-0.json")
    expected = [
        percent(scores["test"]["accuracy"]),
        "44,426",
        "conv1.weight",
        "on augmented images",
        "hardware.precision",
        "dvc exp run -S model=lenet5",
    ]
    expected += [layer["name"] for layer in scores["layers"]] + [row["class"] for row in scores["classes"]]
    expected += ["<td>hardware.channels_last</td><td>true</td>"]
    assert [text for text in expected if text not in page] == []
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", page) == []


def test_repro_again_runs_nothing_and_leaves_git_clean(built: tuple[Workspace, list[str]]) -> None:
    """A second `dvc repro` runs no stage, and git has nothing left to commit."""
    workspace, _ = built
    assert workspace.stages("repro") == []
    assert workspace.run("git", "status", "--porcelain") == ""


def test_git_alone_shows_results(built: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    """A clone without a cache shows the plots and metrics of a commit, and none of its stages is stale."""
    clone = built[0].clone(tmp_path / "clone")
    assert "lenet5" in clone.run("dvc", "metrics", "show")
    plots = json.loads(clone.run("dvc", "plots", "show", "--json"))["data"]
    assert {"accuracy", "loss", "confusion", "calibration", "plots/mistakes.png", "plots/samples.png"} <= set(plots)
    assert "Running stage" not in clone.run("dvc", "repro", "--dry", "--allow-missing")


def test_a_killed_repro_resumes(built: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    """If dvc is killed, its training ends too, and the same command resumes it and ends with the same bytes."""
    workspace = built[0].copy(tmp_path / "project")
    workspace.epochs("lenet5", 20)
    workspace.run("dvc", "repro", "check")
    uninterrupted = workspace.copy(tmp_path / "uninterrupted")
    uninterrupted.run("dvc", "repro", "models/dvc.yaml:train@lenet5-0")
    command = ("dvc", "repro", "models/dvc.yaml:train@lenet5-0")
    process = workspace.running(*command, until=r"epoch +2/")
    training = next(child for child in psutil.Process(process.pid).children(True) if "train" in child.cmdline())
    process.kill()
    process.communicate(timeout=60)
    training.wait(timeout=60)
    assert "lenet5-0: resumes after epoch" in workspace.run(*command)
    assert (workspace.folder / "models/dvc.lock").read_text() == (uninterrupted.folder / "models/dvc.lock").read_text()


def test_the_outcome_is_compared_with_the_committed_one(built: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    """The tool says whether results are the committed ones, why not, whether that is noise, and how to keep them."""
    workspace = built[0].copy(tmp_path / "project")
    outcome = (sys.executable, "-m", "tools", "outcome")
    test = workspace.json("metrics/evaluate/lenet5-0.json")["test"]
    accuracy = f"{test['accuracy']:.2%}"
    words = f"lenet5: {accuracy} of {test['images']} test images are right, committed {accuracy}."
    same = workspace.run(*outcome)
    assert words in same
    assert "Every result is the committed one, to the last bit." in same
    # A comment changes dvc.lock, and no result.
    workspace.replace("params.yaml", "# The whole pipeline's settings", "# All settings")
    workspace.run("dvc", "repro")
    assert "dvc.lock" in workspace.run("git", "status", "--porcelain")
    assert workspace.run(*outcome) == same
    # As after a run on another machine: two labels differ from the committed ones.
    labels = workspace.folder / "metrics/predictions/lenet5-0.csv"
    head, *rows = mine = labels.read_text().splitlines()
    labels.write_text("\n".join([head, *(f"{row[0]},{(int(row[0]) + 1) % 10}" for row in rows[:2]), *rows[2:], ""]))
    right = sum(row[0] == row[2] for row in rows[:2])
    scores = workspace.folder / "metrics/evaluate/lenet5-0.json"
    here = scores.read_text()
    fewer = round((test["correct"] - right) / test["images"], 6)
    scores.write_text(here.replace(f'"accuracy": {test["accuracy"]}', f'"accuracy": {fewer}'))
    workspace.commit("of another machine")
    labels.write_text("\n".join([*mine, ""]))
    scores.write_text(here)
    other = workspace.run(*outcome)
    differ = "2 results differ" if right else "1 result differs"
    assert f"{differ} from the committed ones, which are of another kind of machine" in other
    assert f"of {test['images']} images {right} fixed, 0 broken, p = " in other
    workspace.epochs("lenet5", 2)
    workspace.run("dvc", "repro")
    assert "since settings or code do" in workspace.run(*outcome)


def test_wrong_settings_are_reported(built: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    """A wrong setting ends `check` with one sentence that names the key, and no traceback."""
    workspace = built[0].copy(tmp_path / "project")
    workspace.replace("params.yaml", "model: lenet5", "model: lenet6")
    output = workspace.run(sys.executable, "-m", "stages", "check", fails=True)
    assert output.startswith("error: params.yaml: model names 'lenet6', which does not exist: did you mean lenet5?")
    assert output.count("\n") == 1
