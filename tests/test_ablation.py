"""python -m tools ablation: the accuracy without each ingredient of a recipe."""

import json
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml

from tests.conftest import Workspace

TOOL = (sys.executable, "-m", "tools", "ablation", "lenet5", "--seeds", "2", "--epochs", "2")


@pytest.fixture
def workspace(checkout: Workspace, tmp_path: Path) -> Workspace:
    """The project on `digits` with only lenet5, whose recipe has two ingredients: flips and label smoothing."""
    workspace = checkout.copy(tmp_path / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=1)
    with modify_yaml(workspace.folder / "params.yaml") as params:
        params["train"] |= {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "label_smoothing": 0.1}
        params["models"]["lenet5"]["train"] = {"epochs": 1, "augment": {"flip": True}}
        for split in params["splits"].keys() - {"holdout_6k"}:
            del params["splits"][split]
    workspace.commit("two ingredients")
    return workspace


@pytest.mark.slow
def test_each_ingredient_is_left_out_once(workspace: Workspace) -> None:
    """Accuracies equal a run's by hand, a second call trains nothing, and the page has those of the current recipe."""
    output = workspace.run(*TOOL)
    found = json.loads((workspace.folder / "metrics/ablation/lenet5.json").read_text())
    rows = {row["without"]: row for row in found["rows"]}
    assert list(rows) == ["", "augment.flip", "label_smoothing"]
    for row in rows.values():
        assert row["mean"] == pytest.approx(sum(row["accuracies"]) / 2, abs=1e-6)
    assert "Running stage 'models/dvc.yaml:train@lenet5'" in output
    assert "Running stage" not in workspace.run(*TOOL)
    one, other = (f"lenet5-2-epochs-{what}-seed-1" for what in ("whole", "without-augment-flip"))
    changed = json.loads(workspace.run("dvc", "params", "diff", "--json", one, other))["params.yaml"]
    assert {name: change["new"] for name, change in changed.items()} == {"models.lenet5.train.augment.flip": False}

    settings = ("seed=1", "models.lenet5.train.epochs=2", "models.lenet5.train.augment.flip=false")
    workspace.run("dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting)))
    report = json.loads((workspace.folder / "metrics/report.json").read_text())
    assert rows["augment.flip"]["accuracies"][1] == pytest.approx(report["validation_accuracy"], abs=1e-6)
    message = workspace.run(*TOOL, fails=True)
    assert message == (
        "error: experiments start from a commit, and metrics/evaluate/lenet5.json has uncommitted changes: "
        "commit or undo them.\n"
    )

    board, page = "models/dvc.yaml:leaderboard", "models/dvc.yaml:results"
    assert workspace.stages("repro", "--single-item", board, page) == ["leaderboard", "results"]
    assert "without `" not in (workspace.folder / "docs/results.md").read_text()
    workspace.run("git", "checkout", "--quiet", "params.yaml")
    assert workspace.stages("repro", "--single-item", page) == ["results"]
    assert "| without `augment.flip` |" in (workspace.folder / "docs/results.md").read_text()
