"""What git makes of two branches: locks joined stage by stage, and one side's tables, pages and pictures."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.conftest import ROOT, Workspace, ran
from tools.merge import locks

HEAD = "schema: '2.0'\nstages:\n"
PAGE = "# Title\n\n<!-- table: scores -->\n{table}\n<!-- end -->\n\n{text}\n"


def lock(stages: dict[str, int]) -> str:
    """A lock in DVC's style, with a dependency of that size for each stage."""
    entries = (
        f"  {name}:\n    cmd: run {name}\n    deps:\n    - path: x\n      size: {size}\n"
        for name, size in stages.items()
    )
    return HEAD + "".join(entries)


STAGES = st.dictionaries(st.sampled_from(["check", "train@lenet5-0", "evaluate@fcnn-1", "report"]), st.integers(0, 2))


@given(STAGES, STAGES.filter(bool), STAGES)
def test_locks_are_joined_stage_by_stage(
    ancestor: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    """A stage is as on the side that changed it, or as in ours if both did; nothing else changes."""
    expected = {}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        changed = ours.get(name) != ancestor.get(name)
        if (size := (ours if changed else theirs).get(name)) is not None:
            expected[name] = size
    assert locks(lock(ancestor), lock(ours), lock(theirs)) == lock(expected)


def test_locks_of_dvc_are_cut_between_stages() -> None:
    """A committed lock, joined with itself, stays the same; joined with nothing, all its stages come from the other."""
    for path in ("dvc.lock", "models/dvc.lock"):
        text = (ROOT / path).read_text()
        names = [line.strip().rstrip(":") for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
        assert names == list(YAML(typ="safe").load(text)["stages"])
        assert locks(text, text, text) == text == locks("", HEAD, text)


@pytest.fixture
def repository(tmp_path: Path) -> Workspace:
    """A repository with the project's rules, and a first commit of a file of each kind."""
    workspace = Workspace(tmp_path / "project")
    for name in (".gitattributes", "tools/merge.gitconfig", "tools/merge.py"):
        (workspace.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / name).write_text((ROOT / name).read_text())
    workspace.run("git", "init", "--quiet", "--initial-branch=main")
    registered(workspace)
    (workspace.folder / ".git/info/exclude").write_text(".venv\n")
    write(workspace, {"check": 0, "report": 0}, "none", "start")
    return workspace


def registered(workspace: Workspace) -> None:
    """Do what make setup does."""
    workspace.run("git", "config", "include.path", str(workspace.folder / "tools/merge.gitconfig"))
    (workspace.folder / ".venv/bin").mkdir(parents=True)
    (workspace.folder / ".venv/bin/python").symlink_to(sys.executable)


def write(workspace: Workspace, stages: dict[str, int], table: str, text: str) -> None:
    """Write and commit a lock, a page, a table and a picture."""
    (workspace.folder / "dvc.lock").write_text(lock(stages))
    (workspace.folder / "README.md").write_text(PAGE.format(table=table, text=text))
    for name in ("metrics/leaderboard.csv", "plots/leaderboard.png"):
        (workspace.folder / name).parent.mkdir(exist_ok=True)
        (workspace.folder / name).write_bytes(b"\0" + table.encode())
    workspace.commit(text)


@pytest.fixture
def branches(repository: Workspace) -> Workspace:
    """On `main` and `other` other stages have run, and tables and pictures differ; only `main` edits the text."""
    repository.run("git", "branch", "other")
    write(repository, {"check": 1, "report": 1, "train@a": 1}, "ours", "edited")
    repository.run("git", "switch", "--quiet", "other")
    write(repository, {"check": 2, "report": 0, "train@b": 1}, "theirs", "start")
    repository.run("git", "switch", "--quiet", "main")
    return repository


@pytest.mark.parametrize("command", [["merge", "--no-edit", "other"], ["rebase", "main", "other"]], ids=" ".join)
def test_branches_that_ran_other_stages_merge(branches: Workspace, command: list[str]) -> None:
    """No file conflicts: stages that one side ran come from there, and all else that stages write is one side's."""
    branches.run("git", *command)
    assert branches.text("dvc.lock") == lock({"check": 1, "report": 1, "train@a": 1, "train@b": 1})
    assert branches.text("README.md") == PAGE.format(table="ours", text="edited")
    for name in ("metrics/leaderboard.csv", "plots/leaderboard.png"):
        assert branches.text(name) == "\0ours"


def test_two_edits_of_a_text_conflict_without_the_table(branches: Workspace) -> None:
    """If both sides edited a page, the conflict is in the text, not in the table."""
    branches.run("git", "switch", "--quiet", "other")
    branches.replace("README.md", "start", "also edited")
    branches.commit("edit")
    branches.run("git", "switch", "--quiet", "main")
    output = branches.run("git", "merge", "other", fails=True)
    assert [line for line in output.splitlines() if "CONFLICT" in line] == [
        "CONFLICT (content): Merge conflict in README.md"
    ]
    conflict = "<<<<<<< ours\nedited\n=======\nalso edited\n>>>>>>> theirs"
    assert branches.text("README.md") == PAGE.format(table="ours", text=conflict)


@pytest.mark.parametrize("missing", ["configuration", "program"])
def test_without_the_program_a_merge_is_the_usual_one(branches: Workspace, missing: str) -> None:
    """In a clone that was not set up, or without its environment, locks and pages conflict, and git marks where."""
    if missing == "configuration":
        branches.run("git", "config", "--unset", "include.path")
    else:
        (branches.folder / ".venv/bin/python").unlink()
    output = branches.run("git", "merge", "other", fails=True)
    assert "Merge conflict in dvc.lock" in output
    assert branches.text("dvc.lock").count("<<<<<<<") == branches.text("dvc.lock").count(">>>>>>>") > 0
    assert branches.text("README.md").count("<<<<<<<") == 1


@pytest.fixture(scope="module")
def people(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Workspace]:
    """Two people's clones with remotes for git and DVC; each has trained another row on a branch, and pushed."""
    folder = tmp_path_factory.mktemp("people")
    start = checkout.copy(folder / "start")
    start.keep("lenet5", "fcnn")
    start.small(epochs=1)
    start.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    start.run("dvc", "repro", "--all-pipelines")
    start.commit("two architectures on digits")
    start.run("dvc", "push")
    clones = {}
    for key in ("lenet5", "fcnn"):
        clones[key] = start.clone(folder / key)
        registered(clones[key])
        clones[key].run("git", "switch", "--quiet", "--create", key)
        clones[key].epochs(key, 2)
        clones[key].run("dvc", "repro", "--pull", "--all-pipelines")
        clones[key].commit(f"train {key} longer")
        clones[key].run("dvc", "push")
        clones[key].run("git", "push", "--quiet", "origin", key)
        clones[key].run("git", "switch", "--quiet", "main")
    for clone in clones.values():
        clone.run("git", "fetch", "--quiet")
    return clones


@pytest.mark.dvc
@pytest.mark.parametrize("command", [["merge", "--no-edit", "origin/fcnn"], ["rebase", "origin/fcnn"]], ids=" ".join)
def test_branches_that_trained_other_rows_merge(
    people: dict[str, Workspace], tmp_path: Path, command: list[str]
) -> None:
    """Without a conflict; `dvc repro` then trains and evaluates nothing, and a second one leaves git as it is."""
    mine = people["lenet5"].copy(tmp_path / "mine")
    mine.run("git", "switch", "--quiet", "lenet5")
    assert "CONFLICT" not in mine.run("git", *command)
    done = ran(mine.run("dvc", "repro", "--pull", "--all-pipelines"))
    assert {stage.partition("@")[0] for stage in done} <= {"check", "leaderboard", "results"}
    mine.commit("run what compares them")
    assert mine.stages("repro", "--all-pipelines") == []
    assert mine.run("git", "status", "--porcelain") == ""
    params = mine.text("params.yaml")
    assert params.count("epochs: 2") == 2
    for key in ("lenet5", "fcnn"):
        assert (mine.folder / f"metrics/history/{key}-0.csv").read_text().count("\n") == 3


@pytest.mark.dvc
def test_branches_that_changed_the_same_row_conflict_in_the_settings(
    people: dict[str, Workspace], tmp_path: Path
) -> None:
    """The conflict is in params.yaml and nowhere else; when it is resolved, `dvc repro` finishes, and git is clean."""
    mine = people["lenet5"].copy(tmp_path / "mine")
    mine.run("git", "switch", "--quiet", "--create", "mine")
    mine.epochs("lenet5", 3)
    mine.run("dvc", "repro", "--pull", "--all-pipelines")
    mine.commit("train lenet5 for three epochs")
    mine.run("git", "merge", "lenet5", fails=True)
    assert mine.run("git", "diff", "--name-only", "--diff-filter=U").split() == ["params.yaml"]
    mine.run("git", "checkout", "--theirs", "params.yaml")
    trained = [stage for stage in ran(mine.run("dvc", "repro", "--pull", "--all-pipelines")) if "train@" in stage]
    # The other side's training is in this clone's cache.
    assert trained == []
    mine.commit("two epochs")
    assert mine.stages("repro", "--all-pipelines") == []
    assert mine.text("metrics/history/lenet5-0.csv").count("\n") == 3
