"""python -m tools verify: a training is repeated and compared with the committed result."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest

from fashion.networks import weights
from tests.conftest import Workspace

pytestmark = pytest.mark.dvc
VERIFY = (sys.executable, "-m", "tools", "verify")


@pytest.fixture(scope="module")
def committed(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project whose lenet5 was trained on `digits` for three epochs and committed; to be copied, not changed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("committed") / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=3)
    # A split that leaves images out: their places in the manifest are not their places in the data set.
    workspace.replace("params.yaml", "split: holdout_6k", "split: subset_20k")
    workspace.run("dvc", "repro", "models/dvc.yaml:evaluate@lenet5-0")
    workspace.commit("train")
    return workspace


def state(workspace: Workspace) -> dict[Path, int]:
    """When each file of the project was last changed, except for git's own files and bytecode."""
    files = (path for path in workspace.folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if not {".git", "__pycache__"} & set(path.parts)}


def test_the_same_machine_gives_the_same_bytes(committed: Workspace) -> None:
    """Figures, and after all epochs the weights, equal the committed ones, and the project's files stay unchanged."""
    before = state(committed)
    same = "lenet5: the same bytes as committed: the figures of"
    assert committed.run(*VERIFY).endswith(f"{same} 3 epochs, and the same weights\n")
    assert committed.run(*VERIFY, "lenet5", "--epochs", "2").endswith(f"{same} 2 epochs\n")
    assert state(committed) == before


def test_tools_that_only_read_change_no_file(committed: Workspace, tmp_path: Path) -> None:
    """They leave every file of the project as it is, its time included; what they write is where the user says."""
    workspace = committed.copy(tmp_path / "project")
    workspace.run("dvc", "repro", "models/dvc.yaml:leaderboard")
    workspace.commit("rank")
    before = state(workspace)
    for words in (
        "diff HEAD~1",
        "models",
        "models lenet5",
        "outcome",
        "compare metrics/predictions/lenet5-0.csv --page ../page.html",
        "score models/lenet5-0.safetensors --model lenet5",
        "predict plots --save ../pictures",
        "card lenet5 --output ../card.md",
        "verify --epochs 1",
    ):
        workspace.run(sys.executable, "-m", "tools", *words.split())
        assert state(workspace) == before, words


def test_other_bytes_are_reported(committed: Workspace, tmp_path: Path) -> None:
    """The first epoch that differs, even in its last digit, and the number of different labels are reported."""
    workspace = committed.copy(tmp_path / "project")
    history = "metrics/history/lenet5-0.csv"
    loss = list(csv.DictReader((workspace.folder / history).read_text().splitlines()))[1]["train_loss"]
    workspace.replace(history, loss, repr(math.nextafter(float(loss), 1)))
    labels, file = "metrics/predictions/lenet5-0.csv", workspace.folder / "models/lenet5-0.safetensors"
    before = workspace.text(labels).splitlines()
    tensors, header = weights.read(file)
    tensors["logits.bias"][0] += 1
    file.write_bytes(weights.dumps(tensors, header))
    changed = workspace.text(history)
    workspace.run(sys.executable, "-m", "stages", "evaluate", "lenet5-0")
    (workspace.folder / history).write_text(changed)
    workspace.commit("of another machine")
    output = workspace.run(*VERIFY, "--json", fails=True)
    found = json.loads(output[output.index("{\n") :])
    different = sum(was != now for was, now in zip(before, workspace.text(labels).splitlines(), strict=True))
    assert different > 0
    assert (found["same"], found["differs_from"], found["labels_different"]) == (False, 2, different)
    assert found["test"]["fixed"] + found["test"]["broken"] <= different
    assert "differs from the committed result from epoch 2 on" in workspace.run(*VERIFY, "--epochs", "2", fails=True)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "params.yaml",
            "epochs: 3",
            "epochs: 4",
            "lenet5-0 has no result for the current settings and code: dvc",
        ),
        ("metrics/history/lenet5-0.csv", "epoch", "epochs", "are not all committed: commit them, or undo"),
    ],
)
def test_a_committed_result_is_required(
    committed: Workspace, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    """Settings that differ from the committed result's, and uncommitted results, are refused before training."""
    workspace = committed.copy(tmp_path / "project")
    workspace.replace(file, old, new)
    output = workspace.run(*VERIFY, fails=True)
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1
