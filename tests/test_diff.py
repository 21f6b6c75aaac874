"""What `python -m tools diff` prints, in small repositories with made-up settings, metrics and predictions."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fashion.errors import FashionError
from fashion.files import write_csv, write_json
from tests.conftest import Workspace
from tools.diff import diff

SETTINGS = """\
model: lenet5
train: {learning_rate: 0.002, schedule: cosine}
models:
  lenet5:
    train: {epochs: 25}
    layers:
      conv1: {Conv2d: {out_channels: 6, kernel_size: 5}}
      tanh1: Tanh
      pool1: {AvgPool2d: {kernel_size: 2}}
      flatten: Flatten
  fcnn:
    train: {epochs: 40}
"""
TRUTH = np.arange(1000) % 10
# These repositories do not use DVC; test_workflows.py tests stale stages in copies of the whole project.
STALE = "Which stages are stale is unknown, since `python -m stages check` fails."


def results(workspace: Workspace, key: str, wrong: Sequence[int], truth: np.ndarray = TRUTH) -> None:
    """Write an architecture's scores and predictions, which are right on all images except these."""
    predictions = truth.copy()
    predictions[list(wrong)] = (truth[list(wrong)] + 1) % 10
    accuracy = float((predictions == truth).mean())
    scores = {
        "model": key,
        "validation": {"accuracy": 0.9},
        "test": {"accuracy": accuracy},
        "classes": [{"class": f"class {number}"} for number in range(10)],
    }
    write_json(workspace.folder / f"metrics/evaluate/{key}.json", scores)
    table = pd.DataFrame({"truth": truth, "prediction": predictions})
    write_csv(workspace.folder / f"metrics/predictions/{key}.csv", table)


def report(workspace: Workspace, key: str, accuracy: float, parameters: int = 44_426) -> None:
    """Write the report of the chosen model."""
    content = {"model": key, "parameters": parameters, "test_accuracy": accuracy, "test_loss": 0.31}
    write_json(workspace.folder / "metrics/report.json", content)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A committed repository, as the working directory, in which the chosen lenet5 is wrong on images 0 to 83."""
    made = Workspace(tmp_path / "made")
    made.folder.mkdir()
    monkeypatch.chdir(made.folder)
    (made.folder / "params.yaml").write_text(SETTINGS)
    results(made, "lenet5", range(84))
    results(made, "fcnn", range(100))
    report(made, "lenet5", 0.916)
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.commit("start")
    return made


def head(workspace: Workspace, revision: str = "HEAD") -> str:
    """The short hash of a commit."""
    return workspace.run("git", "rev-parse", "--short", revision).strip()


def printed(capsys: pytest.CaptureFixture[str], base: str | None = None) -> list[str]:
    """The paragraphs that the command prints, without the sentence on stale stages."""
    diff(base)
    *parts, last = capsys.readouterr().out.strip().split("\n\n")
    assert last.endswith(STALE)
    return [*parts, last.removesuffix(STALE).strip()] if last != STALE else parts


def test_no_change_is_reported_in_one_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """If settings and numbers equal those of the commit, one line reports it; comments are not settings."""
    workspace.replace("params.yaml", "model: lenet5", "# The architecture.\nmodel: lenet5")
    assert printed(capsys) == [f"No setting and no number changed since `{head(workspace)}`."]


def test_changed_settings_are_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Each setting or section that was changed, added or removed has a row, and so has a new order of layers."""
    workspace.replace("params.yaml", "learning_rate: 0.002, schedule: cosine", "learning_rate: 0.001, flip: true")
    workspace.replace("params.yaml", "  fcnn:\n    train: {epochs: 40}\n", "")
    workspace.replace("params.yaml", "tanh1: Tanh", "tanh1: ReLU")
    pool = "      pool1: {AvgPool2d: {kernel_size: 2}}\n"
    workspace.replace("params.yaml", pool, "")
    workspace.replace("params.yaml", "      conv1:", f"{pool}      conv1:")
    table = """\
| setting | before | after |
|---|---|---|
| `train.learning_rate` | `0.002` | `0.001` |
| `train.schedule` | `cosine` | - |
| `train.flip` | - | `true` |
| `models.lenet5.layers.tanh1` | `Tanh` | `ReLU` |
| `models.lenet5.layers`, order | `conv1, tanh1, pool1` | `pool1, conv1, tanh1` |
| `models.fcnn` | `{"train": {"epochs": 40}}` | - |"""
    assert printed(capsys) == [f"### Changes since `{head(workspace)}`", table]


def test_the_order_of_other_settings_is_ignored(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Another order of the architectures is not a change."""
    fcnn = "  fcnn:\n    train: {epochs: 40}\n"
    workspace.replace("params.yaml", fcnn, "")
    workspace.replace("params.yaml", "  lenet5:\n", f"{fcnn}  lenet5:\n")
    assert "No setting" in printed(capsys)[0]


def test_a_retrained_model_is_compared(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics are shown before and after, and 84 images fixed and 53 broken of 1,000 are tested, also by class."""
    results(workspace, "lenet5", range(100, 153))
    report(workspace, "lenet5", 0.947)
    table = """\
| metric | before | after | change |
|---|---|---|---|
| `model` | `lenet5` | `lenet5` |  |
| `parameters` | 44,426 | 44,426 |  |
| `test_accuracy` | 91.60% | 94.70% | +3.10 points |
| `test_loss` | 0.3100 | 0.3100 |  |"""
    assert printed(capsys)[1:] == [
        table,
        "Test images: +3.10 points: of 1,000 images 84 fixed, 53 broken, p = 0.010: more than noise at 5%.",
        "No class's recall changed by more than noise (10 tests, Holm-corrected).",
    ]


def test_a_class_that_changed_is_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """With 3 images fixed in each of ten classes and 20 broken in one, only that class changed by more than noise."""
    results(workspace, "lenet5", [*range(54), *range(106, 306, 10)])
    report(workspace, "lenet5", 0.926)
    table = """\
| class | recall, Holm-corrected p of 10 tests |
|---|---|
| `class 6` | -17.00 points: of 100 images 3 fixed, 20 broken, p = 0.005: more than noise at 5% |"""
    assert printed(capsys)[-2:] == [
        "Test images: +1.00 points: of 1,000 images 30 fixed, 20 broken, p = 0.203: no more than noise at 5%.",
        table,
    ]


def test_another_chosen_model_is_compared(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """If two revisions chose different models, these are compared, and models with unchanged numbers have no row."""
    workspace.replace("params.yaml", "model: lenet5", "model: fcnn")
    report(workspace, "fcnn", 0.9, parameters=535_818)
    _, settings, metrics, test, _ = printed(capsys)
    assert settings.endswith("| `model` | `lenet5` | `fcnn` |")
    assert "| `model` | `lenet5` | `fcnn` |  |\n| `parameters` | 44,426 | 535,818 | +491,392 |" in metrics
    assert "| `test_accuracy` | 91.60% | 90.00% | -1.60 points |" in metrics
    assert test == "Test images: -1.60 points: of 1,000 images 0 fixed, 16 broken, p < 0.001: more than noise at 5%."


@pytest.mark.parametrize("truth", [TRUTH[::-1].copy(), TRUTH[:900]], ids=["other labels", "fewer images"])
def test_other_test_images_are_not_paired(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], truth: np.ndarray
) -> None:
    """Predictions for other test images are not paired, and the output states why."""
    results(workspace, "lenet5", range(50), truth)
    report(workspace, "lenet5", 0.95)
    assert printed(capsys)[-1] == "Test images: no paired test, since the test images are not the same."


def test_other_architectures_are_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Each other architecture whose numbers changed has a row with accuracies and a paired test, `new` or `removed`."""
    results(workspace, "gone", range(10))
    workspace.commit("gone is here")
    (workspace.folder / "metrics/evaluate/gone.json").unlink()
    results(workspace, "fcnn", range(1, 100))
    results(workspace, "cnn", range(70))
    table = """\
| other training | validation | test | paired test |
|---|---|---|---|
| `cnn` | - → 90.00% | - → 93.00% | new |
| `fcnn` | 90.00% → 90.00% | 90.00% → 90.10% | \
+0.10 points: of 1,000 images 1 fixed, 0 broken, p = 1.000: no more than noise at 5% |
| `gone` | 90.00% → - | 99.00% → - | removed |"""
    assert printed(capsys)[1:] == [table]


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_report_on_one_side_alone(workspace: Workspace, capsys: pytest.CaptureFixture[str], side: str) -> None:
    """If one side has no report, the other side's metrics are shown next to dashes, and nothing is tested."""
    (workspace.folder / "metrics/report.json").unlink()
    if side == "before":
        workspace.commit("no report")
        report(workspace, "lenet5", 0.916)
    cells = "- | 91.60%" if side == "before" else "91.60% | -"
    assert f"| `test_accuracy` | {cells} |  |" in printed(capsys)[-1]


def test_the_base_is_where_the_branch_left_main(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The base of a branch is the commit where it left main, even if main has moved on, unless a commit is named."""
    workspace.run("git", "switch", "--quiet", "--create", "work")
    workspace.replace("params.yaml", "epochs: 25", "epochs: 26")
    workspace.commit("longer")
    workspace.replace("params.yaml", "epochs: 26", "epochs: 27")
    workspace.run("git", "stash", "--quiet")
    workspace.run("git", "switch", "--quiet", "main")
    workspace.replace("params.yaml", "epochs: 40", "epochs: 41")
    workspace.commit("meanwhile on main")
    workspace.run("git", "switch", "--quiet", "work")
    workspace.run("git", "stash", "pop", "--quiet")
    title, table = printed(capsys)
    assert title == f"### Changes since `{head(workspace, 'main~1')}`"
    assert table.endswith("|---|---|---|\n| `models.lenet5.train.epochs` | `25` | `27` |")
    assert printed(capsys, "HEAD")[1].endswith("|---|---|---|\n| `models.lenet5.train.epochs` | `26` | `27` |")


def test_a_clone_of_a_branch_uses_its_origins_main(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a local branch main, the origin's main is used."""
    workspace.run("git", "switch", "--quiet", "--create", "work")
    workspace.replace("params.yaml", "epochs: 25", "epochs: 26")
    workspace.commit("longer")
    workspace.run("git", "clone", "--quiet", "--branch=work", ".", "../clone")
    monkeypatch.chdir("../clone")
    assert printed(capsys)[0] == f"### Changes since `{head(workspace, 'main')}`"


def test_the_later_of_two_mains_is_used(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the local main is behind the origin's, the origin's main is used."""
    workspace.run("git", "clone", "--quiet", ".", "../clone")
    workspace.replace("params.yaml", "epochs: 25", "epochs: 26")
    workspace.commit("meanwhile on main")
    monkeypatch.chdir("../clone")
    workspace.run("git", "-C", "../clone", "fetch", "--quiet")
    workspace.run("git", "-C", "../clone", "switch", "--quiet", "--create", "work", "origin/main")
    assert printed(capsys)[0].startswith(f"No setting and no number changed since `{head(workspace, 'main')}`.")


def test_values_are_not_interpreted_as_markdown(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Bars, backticks, line breaks and mentions stay inside a code span in one cell, and long values are truncated."""
    value = "a|b`c` @everyone\\n" + 200 * "long "
    workspace.replace("params.yaml", "schedule: cosine", f'schedule: "{value}"')
    row = printed(capsys)[1].splitlines()[-1]
    assert re.fullmatch(r"\| `train.schedule` \| `cosine` \| `a\\\|b'c' @everyone [long ]+\.\.\.` \|", row)
    assert len(row) < 200


def test_the_table_fits_a_comment_on_github(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """However many settings changed, the table stays below 40,000 characters and states how many rows it omits."""
    lines = [f"  {'k' * 60}{number}: {'v' * 200}" for number in range(1000)]
    (workspace.folder / "params.yaml").write_text("\n".join([SETTINGS, "more:", *lines]))
    workspace.commit("more settings")
    workspace.replace("params.yaml", "vv", "ww")
    table = printed(capsys, "HEAD")[1]
    assert len(table) < 40_000
    assert table.endswith("| and 900 more |  |  |")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics/report.json", "{", "metrics/report.json is damaged, here or in that commit (Expecting"),
        ("metrics/report.json", "[]", "metrics/report.json is damaged, here or in that commit (not a mapping)"),
        ("metrics/predictions/fcnn.csv", "truth,label\n1,1\n", "metrics/predictions/fcnn.csv is damaged"),
        ("metrics/predictions/fcnn.csv", "<<<<<<< ours\n", "metrics/predictions/fcnn.csv is damaged"),
        ("params.yaml", "model: [", "params.yaml is damaged, here or in that commit (line 2, is not YAML: "),
        ("params.yaml", "a: &a [*a]", "params.yaml is damaged"),
        ("params.yaml", "a: {? [b, c] : d}", "params.yaml is damaged"),
    ],
)
def test_damaged_files_are_named(workspace: Workspace, file: str, content: str, message: str) -> None:
    """A file that cannot be read is named in one sentence."""
    results(workspace, "fcnn", range(99))
    (workspace.folder / file).write_text(content)
    with pytest.raises(FashionError, match=re.escape(message)):
        diff(None)


@pytest.mark.parametrize("content", ['{"test": null}', '{"test": 1, "classes": null}', '{"classes": [1]}'])
def test_incomplete_scores_are_shown_as_far_as_they_go(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Without accuracies in a file of scores there are hyphens, and without names of classes their labels."""
    for key in ("lenet5", "fcnn"):
        results(workspace, key, range(0, 1000, 10))
        (workspace.folder / f"metrics/evaluate/{key}.json").write_text(content)
    report(workspace, "lenet5", 0.9)
    text = "\n".join(printed(capsys, "HEAD"))
    assert "\n| `0` | " in text
    assert "| `fcnn` | 90.00% → - | 90.00% → - |" in text


def test_a_running_stage_is_not_disturbed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """While DVC holds or writes its locks, the inputs of its stages stay; a dead process holds none."""
    lock = workspace.folder / ".dvc/tmp/rwlock"
    running = "Which stages are stale is unknown while DVC runs one."
    mine, dead = (
        json.dumps({"read": {"/data/inputs": [{"pid": process, "cmd": "dvc repro"}]}, "write": {}})
        for process in (os.getpid(), 2**22 + 1)
    )
    for content, expected in ((mine, running), (mine[:-9], running), (dead, STALE)):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(content)
        diff(None)
        assert capsys.readouterr().out.endswith(f"{expected}\n")


def test_a_missing_base_is_reported(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown commit, a missing branch main, a missing repository and a wrong folder are each reported."""
    with pytest.raises(FashionError, match=r"git has no commit 'nosuch': git log --oneline lists them"):
        diff("nosuch")
    with pytest.raises(FashionError, match="git has no commit '--all'"):
        diff("--all")
    workspace.run("git", "branch", "--quiet", "--move", "trunk")
    with pytest.raises(FashionError, match="there is no branch main to compare with: name a commit"):
        diff(None)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path))
    (tmp_path / "params.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionError, match="there is no git repository here"):
        diff(None)
    monkeypatch.chdir(workspace.folder / "metrics")
    with pytest.raises(FashionError, match=r"params\.yaml is not here"):
        diff(None)
