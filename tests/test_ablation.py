"""python -m tools ablation: the accuracy without each ingredient of a recipe."""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest
from dvc.utils.serialize import modify_yaml

from fashion.judging.comparing import sign_flip
from tests.conftest import Workspace

TOOL = (sys.executable, "-m", "tools", "ablation", "twin", "--seeds", "2", "--epochs", "2")


@pytest.fixture
def workspace(checkout: Workspace, tmp_path: Path) -> Workspace:
    """The project on `digits` with lenet5 and its twin, whose recipe has two ingredients: flips and label smoothing."""
    workspace = checkout.copy(tmp_path / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=1)
    with modify_yaml(workspace.folder / "params.yaml") as params:
        params["train"] |= {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "label_smoothing": 0.1}
        params["models"]["lenet5"]["train"] = {"epochs": 1, "augment": {"shift": 0}}
        # A row without settings of its own.
        params["models"]["twin"] = {"like": "lenet5"}
        params["model"] = "twin"
        for split in params["splits"].keys() - {"holdout_6k"}:
            del params["splits"][split]
    workspace.commit("two ingredients")
    return workspace


@pytest.mark.slow
def test_each_ingredient_is_left_out_once(workspace: Workspace) -> None:
    """Accuracies equal a run's by hand, a second call trains nothing, and the page has those of the current recipe."""
    output = workspace.run(*TOOL)
    found = json.loads((workspace.folder / "metrics/ablation/twin.json").read_text())
    rows = {row["without"]: row for row in found["rows"]}
    assert list(rows) == ["", "augment.flip", "label_smoothing"]
    for row in rows.values():
        assert row["mean"] == pytest.approx(mean(row["accuracies"]), abs=1e-6)
        assert row["deviation"] == pytest.approx(stdev(row["accuracies"]), abs=1e-6)
        pairs = zip(row["accuracies"], rows[""]["accuracies"], strict=True)
        assert row["p"] == (sign_flip([one - whole for one, whole in pairs]) if row["without"] else None)
    assert "Running stage 'models/dvc.yaml:train@twin-1'" in output
    assert "Running stage" not in workspace.run(*TOOL)
    one, other = (f"twin-2-epochs-{what}-seed-1" for what in ("whole", "without-augment-flip"))
    changed = json.loads(workspace.run("dvc", "params", "diff", "--json", one, other))["params.yaml"]
    assert {name: change["new"] for name, change in changed.items()} == {"models.twin.train.augment.flip": False}

    settings = ("seeds=[1]", "++models.twin.train.epochs=2", "++models.twin.train.augment.flip=false")
    workspace.run("dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting)))
    report = json.loads((workspace.folder / "metrics/report.json").read_text())
    assert rows["augment.flip"]["accuracies"][1] == pytest.approx(report["validation_accuracy"], abs=1e-6)
    message = workspace.run(*TOOL, fails=True)
    assert message == (
        "error: experiments start from a commit, and metrics/report.json has uncommitted changes: "
        "commit or undo them.\n"
    )

    workspace.run("dvc", "repro", "--single-item", "models/dvc.yaml:neighbours")
    board, page = "models/dvc.yaml:leaderboard", "models/dvc.yaml:results"
    assert workspace.stages("repro", "--single-item", board, page) == ["leaderboard", "results"]
    assert "without `" not in (workspace.folder / "docs/results.md").read_text()
    workspace.run("git", "checkout", "--quiet", "params.yaml")
    workspace.run("dvc", "repro")
    assert workspace.stages("repro", "--single-item", board, page) == ["leaderboard", "results"]
    assert "| without `augment.flip` |" in (workspace.folder / "docs/results.md").read_text()
