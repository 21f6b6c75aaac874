"""The pipeline after failures: real DVC in copies of the project, on `digits`."""

import hashlib
import re
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Workspace

pytestmark = pytest.mark.dvc

WEIGHTS = "models/lenet5-0.safetensors"
# With only these rows, every one is trained, as in a repository whose results are complete.
KEPT = ("lenet5", "fcnn")


@pytest.fixture(scope="module")
def complete(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project of two architectures on `digits`, both trained for one epoch and committed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("complete") / "project")
    workspace.keep(*KEPT)
    workspace.small(epochs=1)
    workspace.stages("repro")
    workspace.stages("repro", "models/dvc.yaml:evaluate@fcnn-0")
    workspace.commit("two architectures on digits")
    return workspace


@pytest.fixture
def workspace(complete: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it to damage."""
    return complete.copy(tmp_path / "project")


def test_deleted_weights_come_back(workspace: Workspace) -> None:
    """Deleted weights come from the cache without a training; if they are damaged there, the same are made again."""
    weights = workspace.folder / WEIGHTS
    before = weights.read_bytes()
    name = hashlib.md5(before, usedforsecurity=False).hexdigest()
    weights.unlink()
    assert workspace.stages("repro") == []
    assert weights.read_bytes() == before
    weights.unlink()
    copy = workspace.folder / ".dvc/cache/files/md5" / name[:2] / name[2:]
    copy.chmod(0o644)
    copy.write_bytes(b"rotten" + before[6:])
    assert "train@lenet5-0" in workspace.stages("repro")
    assert weights.read_bytes() == copy.read_bytes() == before
    assert workspace.run("git", "status", "--porcelain") == ""


def test_what_file_managers_leave_makes_nothing_stale(workspace: Workspace) -> None:
    """A system's or an editor's file in a folder that a stage depends on, or writes, changes no stage and no lock."""
    targets = ("dvc.yaml", "models/dvc.yaml:leaderboard")
    workspace.stages("repro", *targets)
    workspace.commit("rank")
    for folder in ("data/raw", "data/splits", "fashion", "metrics/evaluate", "metrics/train/lenet5-0", "stages"):
        for name in (".DS_Store", "._a", "Thumbs.db", "desktop.ini", "a~", ".a.swp"):
            (workspace.folder / folder / name).write_text("x")
    assert workspace.stages("repro", *targets) == []
    assert workspace.run("git", "status", "--porcelain") == ""


def test_a_training_in_the_cache_is_not_repeated(workspace: Workspace) -> None:
    """If a change is undone, the first training comes from the cache, although another one ran in between."""
    workspace.epochs("lenet5", 2)
    assert "train@lenet5-0" in workspace.stages("repro")
    workspace.epochs("lenet5", 1)
    assert "train@lenet5-0" not in workspace.stages("repro")
    assert workspace.run("git", "status", "--porcelain") == ""


def test_a_training_that_ended_before_dvc_was_killed_is_not_repeated(workspace: Workspace) -> None:
    """An experiment in a folder of its own, whose lock is new, takes over a training that DVC has not recorded.

    Once DVC has recorded it, the same experiment with --force trains it again.
    """
    workspace.epochs("lenet5", 2)
    for words in (["check"], ["train", "lenet5-0"]):
        workspace.run(sys.executable, "-m", "stages", *words)
    workspace.run("git", "restore", "params.yaml")
    experiment = ("dvc", "exp", "run", "--temp", "--set-param", "models.lenet5.train.epochs=2")
    assert "lenet5-0: resumes after epoch 2" in workspace.run(*experiment)
    again = workspace.run(*experiment, "--force")
    assert "lenet5-0: trained in" in again
    assert "resumes" not in again


def fix(workspace: Workspace, title: str) -> str:
    """Run the commands in a section of docs/trouble.md, and return their output."""
    section = (ROOT / "docs/trouble.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return "".join(workspace.run(*line.split()) for line in block.splitlines())


BEFORE = ("check", "download", "split", "models/dvc.yaml:train@lenet5-0", "models/dvc.yaml:evaluate@lenet5-0")


@pytest.mark.parametrize("stage", [*(pytest.param(one, marks=pytest.mark.slow) for one in BEFORE), "report"])
def test_a_run_killed_in_any_stage_resumes(workspace: Workspace, stage: str) -> None:
    """Whatever stage DVC is killed in, the next `dvc repro` completes the run, and all files are as before."""
    process = workspace.running("dvc", "repro", "--force", until=f"Running stage '{stage}'")
    process.kill()
    process.communicate()
    workspace.run("dvc", "repro")
    assert workspace.run("git", "status", "--porcelain") == ""
    assert workspace.stages("repro") == []


def test_a_stage_that_fails_late_leaves_the_rules_for_git(workspace: Workspace) -> None:
    """If a stage fails after others have run, .gitignore files stay as they are, and no other file appears in git."""
    workspace.epochs("lenet5", 2)
    workspace.replace("stages/report.py", "def report() -> None:", "def report() -> None:\n    raise SystemExit(1)\n")
    assert "train@lenet5-0" in workspace.stages("repro", fails=True)
    changed = workspace.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert {line.split()[0] for line in changed} <= {"M", "D"}
    assert not [line for line in changed if ".gitignore" in line]


def test_two_runs_at_once_do_not_interfere(workspace: Workspace) -> None:
    """While one `dvc repro` runs, another one fails with a message, and the first one completes."""
    first = workspace.running("dvc", "repro", "--force", until="Running stage 'check'")
    output = workspace.run("dvc", "repro", fails=True)
    first.communicate()
    assert first.returncode == 0
    assert "is busy" in output
    assert workspace.run("git", "status", "--porcelain") == ""


def test_experiments_are_shared_through_git(workspace: Workspace, tmp_path: Path) -> None:
    """An experiment pushed to a git remote and a DVC remote arrives in another clone, weights included."""
    workspace.run("git", "init", "--bare", "--quiet", "--initial-branch=main", str(tmp_path / "origin"))
    workspace.run("git", "remote", "add", "origin", str(tmp_path / "origin"))
    workspace.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    workspace.commit("remotes")
    workspace.run("git", "push", "--quiet", "origin", "main")
    workspace.run("dvc", "push")
    workspace.run("dvc", "exp", "run", "--temp", "--name", "longer", "-S", "models.lenet5.train.epochs=2")
    workspace.run("dvc", "exp", "push", "origin", "longer")
    other = Workspace(tmp_path / "other")
    workspace.run("git", "clone", "--quiet", str(tmp_path / "origin"), str(other.folder))
    other.run("dvc", "exp", "pull", "origin", "longer")
    other.run("dvc", "exp", "apply", "longer")
    assert "epochs: 2\n" in (other.folder / "params.yaml").read_text()
    assert other.stages("repro") == []
    assert (other.folder / WEIGHTS).is_file()


@pytest.mark.parametrize(("model", "until"), [("lenet5", "epoch +2/"), ("fcnn", "epoch +2/"), ("fcnn", "trained in")])
def test_a_killed_experiment_is_undone_by_the_guides_commands(workspace: Workspace, model: str, until: str) -> None:
    """If `exp run` is killed, the guide's commands restore the branch and all files.

    Also those of an architecture that only the experiment chose, and if DVC had just emptied a lock to write it.
    """
    before = workspace.results()
    settings = f"model={model}", f"models.{model}.train.epochs={50 if 'epoch' in until else 2}"
    command = [word for setting in settings for word in ("-S", setting)]
    process = workspace.running("dvc", "exp", "run", *command, until=until)
    lock = workspace.folder / "models/dvc.lock"
    while until == "trained in" and lock.stat().st_size:
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    fix(workspace, "A killed experiment")
    assert workspace.results() == before
    assert workspace.run("git", "branch", "--show-current").strip() == "main"
    assert workspace.run("git", "status", "--porcelain") == ""
    assert workspace.stages("repro") == []


def test_a_lock_that_lost_entries_is_reported_and_restored(workspace: Workspace) -> None:
    """A lock cut off in the middle gives a warning; the guide's commands restore it, and nothing runs again."""
    lock = workspace.folder / "models/dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.index("  train@lenet5-0:")])
    warning = "warning: models/dvc.lock lacks 4 of the entries in the last commit, as after a kill while DVC wrote it."
    # By the first of two stages.
    assert workspace.run("dvc", "repro", "--force", "--single-item", "split", "report").count(warning) == 1
    # By a stage that restarts itself, and in an experiment, for which DVC writes the lock before the first stage.
    for command in (("repro", "--force", "--single-item"), ("exp", "run", "--force", "--single-item")):
        lock.write_text(whole[: whole.index("  evaluate@fcnn-0:")])
        output = workspace.run("dvc", *command, "models/dvc.yaml:evaluate@lenet5-0")
        assert output.count("models/dvc.lock lacks 1 of the entries") == 1
    fix(workspace, "A lock that lost entries")
    assert lock.read_text() == whole
    assert workspace.run("git", "status", "--porcelain") == ""
    assert workspace.stages("repro", "models/dvc.yaml:evaluate@fcnn-0") == []


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (".dvcignore", b"\xff", ""),
        (".dvcignore", b"[z-a]", ""),
        (".git/config", b"x", ""),
        (".git/HEAD", b"ref: refs/heads/new\n", r".*\): it needs a first commit"),
    ],
)
def test_a_repository_that_dvclive_cannot_use_is_reported(
    workspace: Workspace, path: str, content: bytes, reason: str
) -> None:
    """If dvclive cannot read a file of git or DVC, or there is no commit, a training says so in one sentence."""
    (workspace.folder / path).write_bytes(content)
    *_, last = workspace.run(sys.executable, "-m", "stages", "train", "lenet5-0", fails=True).splitlines()
    assert re.match(rf"error: dvclive cannot use this repository \({reason}", last)


def test_a_full_database_of_dvc_is_reported(workspace: Workspace) -> None:
    """If DVC's database cannot grow, a training says so in one sentence, and leaves no weights."""
    (workspace.folder / WEIGHTS).unlink()
    command = f"ulimit -f 8; DVC_SITE_CACHE_DIR=$PWD/.dvc/tmp/site {sys.executable} -m stages train lenet5-0"
    *_, last = workspace.run("bash", "-c", command, fails=True).splitlines()
    assert re.fullmatch(r"error: DVC's database cannot be used \(.*\): free space in /var/tmp, .*\.", last)
    assert not (workspace.folder / WEIGHTS).exists()
