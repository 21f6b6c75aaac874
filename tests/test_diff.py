"""What `python -m tools diff` prints, in small repositories with made-up metrics and predictions."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fashion.errors import FashionError
from fashion.files import write_json
from fashion.frames import write_csv
from tests.conftest import Workspace
from tools.diff import diff

TRUTH = np.arange(1000) % 10


def results(workspace: Workspace, key: str, wrong: Sequence[int], truth: np.ndarray = TRUTH) -> None:
    """Write an architecture's scores and predictions, which are right on all images except these."""
    predictions = truth.copy()
    predictions[list(wrong)] = (truth[list(wrong)] + 1) % 10
    accuracy = float((predictions == truth).mean())
    scores = {
        "model": key,
        "validation": {"accuracy": 0.9},
        "test": {"accuracy": accuracy},
        "classes": [{"class": f"class {number}", "recall": 0.9} for number in range(10)],
    }
    write_json(workspace.folder / f"metrics/evaluate/{key}-0.json", scores)
    table = pd.DataFrame({"truth": truth, "prediction": predictions})
    write_csv(workspace.folder / f"metrics/predictions/{key}-0.csv", table)


def report(workspace: Workspace, key: str, accuracy: float, parameters: int = 44_426) -> None:
    """Write the report of the chosen model."""
    content = {"model": key, "seed": 0, "parameters": parameters, "test_accuracy": accuracy, "test_loss": 0.31}
    write_json(workspace.folder / "metrics/report.json", content)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A committed repository, as the working directory, in which the chosen lenet5 is wrong on images 0 to 83."""
    made = Workspace(tmp_path / "made")
    made.folder.mkdir()
    monkeypatch.chdir(made.folder)
    (made.folder / "params.yaml").write_text("model: lenet5\n")
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
    """The paragraphs that the command prints."""
    diff(base)
    return capsys.readouterr().out.strip().split("\n\n")


def test_no_change_is_reported_in_one_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """If all scores equal those of the commit, one line reports it."""
    assert printed(capsys) == [f"No accuracy changed since `{head(workspace)}`."]


def test_a_retrained_model_is_compared(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 1,000 images 84 fixed and 53 broken are tested, also by class, and the training has a row."""
    results(workspace, "lenet5", range(100, 153))
    report(workspace, "lenet5", 0.947)
    words = "+3.10 points: of 1,000 images 84 fixed, 53 broken, p = 0.010: more than noise at 5%"
    assert printed(capsys) == [
        f"### Accuracies since `{head(workspace)}`",
        f"`lenet5-0`, test images: {words}.",
        "No class's recall changed by more than noise (10 tests, Holm-corrected).",
        "| training | validation | test | paired test on the test images |\n|---|---|---|---|\n"
        f"| `lenet5-0` | 90.00% → 90.00% | 91.60% → 94.70% | {words} |",
    ]


def test_a_class_that_changed_is_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """With 3 images fixed in each of ten classes and 20 broken in one, only that class changed by more than noise."""
    results(workspace, "lenet5", [*range(54), *range(106, 306, 10)])
    report(workspace, "lenet5", 0.926)
    table = """\
| class | recall, Holm-corrected p of 10 tests |
|---|---|
| class 6 | -17.00 points: of 100 images 3 fixed, 20 broken, p = 0.005: more than noise at 5% |"""
    test = "+1.00 points: of 1,000 images 30 fixed, 20 broken, p = 0.203: no more than noise at 5%"
    assert printed(capsys)[1:3] == [f"`lenet5-0`, test images: {test}.", table]


def test_another_chosen_model_is_compared(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """If two revisions chose different models, these are compared, and trainings with unchanged numbers have no row."""
    report(workspace, "fcnn", 0.9)
    _, test, _ = printed(capsys)
    words = "-1.60 points: of 1,000 images 0 fixed, 16 broken, p < 0.001: more than noise at 5%"
    assert test == f"`lenet5-0` → `fcnn-0`, test images: {words}."


@pytest.mark.parametrize("truth", [TRUTH[::-1].copy(), TRUTH[:900]], ids=["other labels", "fewer images"])
def test_other_test_images_are_not_paired(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], truth: np.ndarray
) -> None:
    """Predictions for other test images are not paired, and the output states why."""
    results(workspace, "lenet5", range(50), truth)
    report(workspace, "lenet5", 0.95)
    assert printed(capsys)[1] == "`lenet5-0`, test images: no paired test, since the test images are not the same."


def test_other_architectures_are_listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Each other training whose numbers changed has a row with accuracies and a paired test, `new` or `removed`."""
    results(workspace, "gone", range(10))
    workspace.commit("gone is here")
    (workspace.folder / "metrics/evaluate/gone-0.json").unlink()
    results(workspace, "fcnn", range(1, 100))
    results(workspace, "cnn", range(70))
    table = """\
| training | validation | test | paired test on the test images |
|---|---|---|---|
| `cnn-0` | - → 90.00% | - → 93.00% | new |
| `fcnn-0` | 90.00% → 90.00% | 90.00% → 90.10% | \
+0.10 points: of 1,000 images 1 fixed, 0 broken, p = 1.000: no more than noise at 5% |
| `gone-0` | 90.00% → - | 99.00% → - | removed |"""
    assert printed(capsys)[1:] == [table]


def test_trainings_are_tested_together(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Six more right images, p = 2/64, are more than noise in one training, and no more than that in each of two."""
    results(workspace, "cnn", range(80))
    workspace.commit("cnn")
    p = []
    for key, wrong in (("fcnn", 94), ("cnn", 74)):
        results(workspace, key, range(wrong))
        p.append(re.findall("6 fixed, 0 broken, p = (.*?):", printed(capsys)[-1]))
    assert p == [["0.031"], ["0.062", "0.062"]]


def test_the_base_is_where_the_branch_left_main(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The base of a branch is the commit where it left main, even if main has moved on, unless a commit is named."""
    workspace.run("git", "switch", "--quiet", "--create", "work")
    results(workspace, "fcnn", range(99))
    workspace.commit("better")
    workspace.run("git", "switch", "--quiet", "main")
    results(workspace, "cnn", range(70))
    workspace.commit("meanwhile on main")
    workspace.run("git", "switch", "--quiet", "work")
    title, table = printed(capsys)
    assert title == f"### Accuracies since `{head(workspace, 'main~1')}`"
    assert "90.00% → 90.10%" in table
    assert printed(capsys, "HEAD") == [f"No accuracy changed since `{head(workspace)}`."]


@pytest.mark.parametrize("local", [False, True], ids=["no local main", "an older local main"])
def test_the_origins_main_is_used(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    """Without a local main, or if it is behind the origin's, the origin's main is used."""
    workspace.run("git", "clone", "--quiet", ".", "../clone")
    results(workspace, "fcnn", range(99))
    workspace.commit("meanwhile on main")
    monkeypatch.chdir("../clone")
    clone = Workspace(Path.cwd())
    clone.run("git", "fetch", "--quiet")
    clone.run("git", "switch", "--quiet", "--create", "work", "origin/main")
    if not local:
        clone.run("git", "branch", "--quiet", "--delete", "--force", "main")
    assert printed(capsys) == [f"No accuracy changed since `{head(workspace, 'main')}`."]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics/report.json", "{", "metrics/report.json is damaged, here or in that commit (Expecting"),
        ("metrics/report.json", "[]", "metrics/report.json is damaged, here or in that commit (the whole: Input"),
        (
            "metrics/report.json",
            '{"model": []}',
            "metrics/report.json is damaged, here or in that commit (model",
        ),
        ("metrics/report.json", '{"model": "../x", "seed": 0}', "metrics/report.json is damaged"),
        ("metrics/evaluate/fcnn-0.json", "{}", "metrics/evaluate/fcnn-0.json is damaged"),
        ("metrics/evaluate/fcnn-0.json", '{"test": {"accuracy": 1' + 400 * "0", "metrics/evaluate/fcnn-0.json is da"),
        ("metrics/predictions/fcnn-0.csv", "truth,label\n1,1\n", "metrics/predictions/fcnn-0.csv is damaged"),
        ("metrics/predictions/fcnn-0.csv", "<<<<<<< ours\n", "metrics/predictions/fcnn-0.csv is damaged"),
        ("metrics/predictions/fcnn-0.csv", f"truth,prediction\n{10**20},1\n", "metrics/predictions/fcnn-0.csv is da"),
        ("metrics/predictions/fcnn-0.csv", "truth,prediction\n10,1\n", "metrics/predictions/fcnn-0.csv is damaged"),
    ],
)
def test_damaged_files_are_named(workspace: Workspace, file: str, content: str, message: str) -> None:
    """A file that cannot be read is named in one sentence."""
    results(workspace, "fcnn", range(99))
    (workspace.folder / file).write_text(content)
    with pytest.raises(FashionError, match=re.escape(message)):
        diff(None)


def test_an_accuracy_of_other_predictions_is_refused(workspace: Workspace) -> None:
    """Scores whose accuracy is not that of the predicted labels beside them are no result."""
    results(workspace, "lenet5", range(50))
    path = workspace.folder / "metrics/evaluate/lenet5-0.json"
    path.write_text(path.read_text().replace('"accuracy": 0.95', '"accuracy": 0.96'))
    with pytest.raises(FashionError, match=r"lenet5-0\.csv and metrics/evaluate/lenet5-0\.json contradict each other"):
        diff(None)


def test_what_git_cannot_show_is_not_taken_for_absent(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its server, a clone without file contents ends with git's own cause, and calls no training new."""
    workspace.run("git", "config", "uploadpack.allowFilter", "true")
    results(workspace, "lenet5", range(50))
    workspace.commit("better")
    workspace.run("git", "clone", "--quiet", "--filter=blob:none", f"file://{workspace.folder}", "../partial")
    workspace.folder.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "partial")
    with pytest.raises(FashionError, match=r"^git show .* fails: fatal: "):
        diff("HEAD~1")


def test_a_shallow_clone_is_told_to_fetch(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a clone has origin/main, but not where the branch left it, the message says so, and how to get that."""
    workspace.run("git", "switch", "--quiet", "--create", "work")
    results(workspace, "lenet5", range(50))
    workspace.commit("better")
    workspace.run("git", "switch", "--quiet", "main")
    results(workspace, "fcnn", range(50))
    workspace.commit("meanwhile")
    shallow = ("--quiet", "--depth", "1", "--no-single-branch", "--branch", "work")
    workspace.run("git", "clone", *shallow, f"file://{workspace.folder}", "../shallow")
    monkeypatch.chdir("../shallow")
    with pytest.raises(FashionError, match=r"does not know where HEAD left origin/main: .* git fetch --unshallow\.$"):
        diff(None)


@pytest.mark.usefixtures("workspace")
def test_a_clone_of_another_user_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """If git refuses a folder of another owner, its own words with the cure are shown in one line."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with pytest.raises(
        FashionError, match=r"detected dubious ownership .* git config --global --add safe.directory"
    ) as one:
        diff(None)
    assert str(one.value).isprintable()


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
    (tmp_path / "params.yaml").write_text("model: lenet5\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionError, match=r"there is no clone of the project here .*: fatal: not a git repository"):
        diff(None)
    monkeypatch.chdir(workspace.folder / "metrics")
    with pytest.raises(FashionError, match=r"params\.yaml is not here"):
        diff(None)
