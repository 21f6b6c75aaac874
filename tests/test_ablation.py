"""python -m tools ablation: the accuracy without each ingredient of a recipe."""

import json
import re
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from dvc.utils.serialize import modify_yaml

from fashion.judging.comparing import mean_interval, sign_flip
from tests.conftest import ROOT, Tool, Workspace

TOOL = (sys.executable, "-m", "tools", "ablation", "twin", "--seeds", "6")


@pytest.fixture
def workspace(checkout: Workspace, tmp_path: Path) -> Workspace:
    """The project on `digits` with lenet5 and its twin, whose recipe has one ingredient: flips."""
    workspace = checkout.copy(tmp_path / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=1)
    with modify_yaml(workspace.folder / "params.yaml") as params:
        params["train"] |= {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0}
        params["models"]["lenet5"]["train"] = {"epochs": 1, "augment": {"shift": 0}}
        # A row without settings of its own.
        params["models"]["twin"] = {"like": "lenet5"}
        params["model"] = "twin"
        for split in params["splits"].keys() - {"holdout_6k"}:
            del params["splits"][split]
    workspace.commit("one ingredient")
    return workspace


def test_seeds_that_cannot_show_anything_are_refused(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the five ingredients of cnn, seven seeds end with a sentence that says how many it takes."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert tool("ablation", "cnn", "--seeds", "7") == (
        1,
        "",
        "error: a recipe with so many ingredients (5) needs at least 8 seeds: "
        "with 7, no p value can be below 5% after Holm's correction.",
    )


@pytest.mark.slow
def test_each_ingredient_is_left_out_once(workspace: Workspace) -> None:
    """Accuracies equal a run's by hand, a second call trains nothing, and the page has those of the current recipe."""
    output = workspace.run(*TOOL)
    found = json.loads((workspace.folder / "metrics/ablation/twin.json").read_text())
    rows = {row["without"]: row for row in found["rows"]}
    assert list(rows) == ["", "augment.flip"]
    for row in rows.values():
        assert row["mean"] == pytest.approx(mean(row["accuracies"]), abs=1e-6)
        assert row["deviation"] == pytest.approx(stdev(row["accuracies"]), abs=1e-6)
        assert len(row["accuracies"]) == 6
    differences = np.subtract(rows["augment.flip"]["accuracies"], rows[""]["accuracies"]).round(6).tolist()
    assert rows["augment.flip"]["p"] == sign_flip(differences)
    assert rows["augment.flip"]["interval"] == pytest.approx(mean_interval(differences), abs=1e-6)
    assert (rows[""]["p"], rows[""]["interval"]) == (None, None)
    assert "Running stage 'models/dvc.yaml:train@twin-1'" in output
    assert "Running stage" not in workspace.run(*TOOL)
    one, other = (f"twin-{what}-seed-1" for what in ("whole", "without-augment-flip"))
    changed = json.loads(workspace.run("dvc", "params", "diff", "--json", one, other))["params.yaml"]
    assert {name: change["new"] for name, change in changed.items()} == {"models.twin.train.augment.flip": False}

    settings = ("seeds=[1]", "++models.twin.train.augment.flip=false")
    workspace.run("dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting)))
    report = json.loads((workspace.folder / "metrics/report.json").read_text())
    assert rows["augment.flip"]["accuracies"][1] == pytest.approx(report["validation_accuracy"], abs=1e-6)

    workspace.run("dvc", "repro", "--single-item", "models/dvc.yaml:neighbours")
    board, page = "models/dvc.yaml:leaderboard", "models/dvc.yaml:results"
    assert workspace.stages("repro", "--single-item", board, page) == ["leaderboard", "results"]
    assert "without `" not in (workspace.folder / "docs/results.md").read_text()
    workspace.run("git", "checkout", "--quiet", "params.yaml")
    message = workspace.run(*TOOL, fails=True)
    assert re.fullmatch(
        r"error: experiments start from a commit, and \S+ has uncommitted changes: commit or undo them\.\n", message
    )
    workspace.run("dvc", "repro")
    assert workspace.stages("repro", "--single-item", board, page) == ["leaderboard", "results"]
    assert "| without `augment.flip` |" in (workspace.folder / "docs/results.md").read_text()
