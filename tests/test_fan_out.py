"""Many machines: the script for Slurm, run by bash, with a folder as DVC's remote."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, Workspace, ran

pytestmark = pytest.mark.dvc

# The longest training first.
STAGES = ("evaluate@lenet5-0", "evaluate@fcnn-0")
# Slurm's command to requeue a task writes down what it is asked for.
SCONTROL = '#!/bin/sh\necho "$@" >> "$SCRATCH/scontrol.txt"\n'


@pytest.fixture(scope="module")
def origin(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository of two architectures on `digits`, nothing trained, whose remote is a folder."""
    folder = tmp_path_factory.mktemp("origin")
    workspace = checkout.copy(folder / "project")
    workspace.keep("lenet5", "fcnn")
    workspace.small(epochs=1)
    workspace.epochs("lenet5", 150)
    workspace.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    workspace.commit("two architectures on digits")
    return workspace


@pytest.fixture
def scratch(origin: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all tasks, with an empty remote; Slurm's `scontrol` is replaced."""
    shutil.rmtree(origin.folder.with_name("store"), ignore_errors=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scontrol").write_text(SCONTROL)
    (tmp_path / "bin/scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    return tmp_path


def task(origin: Workspace, index: int, job: int, restarts: int = 0) -> "subprocess.Popen[str]":
    """Start a task of an array of jobs, as Slurm does: another folder, another number for each submission."""
    names = {"ARRAY_JOB_ID": job, "JOB_ID": job + index, "ARRAY_TASK_ID": index, "RESTART_COUNT": restarts}
    variables = {f"SLURM_{name}": str(value) for name, value in names.items()}
    return subprocess.Popen(
        ["bash", ROOT / "examples/slurm.sh", *STAGES],
        env=origin.environment | variables | {"SLURM_SUBMIT_DIR": str(origin.folder)},
        cwd=origin.folder.parent,
        text=True,
    )


def logged(file: Path, text: str) -> None:
    """Wait until a log has this text."""
    for _ in range(600):
        if file.is_file() and text in file.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"{file} never had {text!r}:\n{file.read_text() if file.is_file() else 'no such file'}")


def kill(*processes: psutil.Process) -> None:
    """Kill processes that still run."""
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def test_a_lost_task_resumes_and_the_head_runs_nothing_again(origin: Workspace, scratch: Path) -> None:
    """A task that is killed and submitted again resumes, although its lock names a process that is alive here.

    The head then only compares, all files equal those of a single machine, and no clone is left.
    """
    folder = scratch / "fashion"
    assert tuple(origin.run("tools/fan_out.sh", "list").split()) == STAGES
    lost = task(origin, 0, job=7)
    logged(folder / f"{STAGES[0]}.log", "epoch   9/")
    parent = psutil.Process(lost.pid)
    # The script first: nobody is left to requeue the task.
    kill(parent, *parent.children(recursive=True))
    lost.wait()
    clone = folder / STAGES[0]
    owner = {"pid": os.getpid(), "cmd": "dvc repro"}
    (clone / ".dvc/tmp/rwlock").write_text(json.dumps({str(clone / "models/lenet5-0.safetensors"): {"write": owner}}))
    tasks = [task(origin, index, job=8) for index in (0, 1)]
    assert [one.wait() for one in tasks] == [0, 0]
    assert "lenet5-0: resumes after epoch" in (folder / f"{STAGES[0]}.log").read_text()
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert not (scratch / "scontrol.txt").exists()

    head = origin.clone(scratch / "head")
    done = {stage.partition("@")[0] for stage in ran(head.run("tools/fan_out.sh", "head"))}
    assert done == {"download", "samples", "report", "neighbours", "leaderboard", "results"}
    single = origin.clone(scratch / "single")
    single.run("dvc", "repro", "--all-pipelines")
    assert head.results() == single.results()
    assert origin.run("git", "status", "--porcelain") == ""

    # Of a training that is up to date and pushed as usual, a worker only repeats the evaluation.
    head.commit("results")
    shutil.rmtree(origin.folder.with_name("store"))
    head.run("dvc", "push")
    assert ran(head.run("tools/fan_out.sh", "worker", str(scratch / "again"), STAGES[0])) == [STAGES[0]]


@pytest.mark.parametrize(("ending", "restarts"), [("killed", 0), ("too long", 0), ("killed", 5)], ids=str)
def test_a_task_that_ends_early_is_requeued(origin: Workspace, scratch: Path, ending: str, restarts: int) -> None:
    """Slurm runs a task again if its training is killed, or its time is over; after five times it has failed."""
    process = task(origin, 0, job=7, restarts=restarts)
    logged(scratch / f"fashion/{STAGES[0]}.log", "epoch   9/")
    children = psutil.Process(process.pid).children(recursive=True)
    if ending == "killed":
        kill(next(one for one in children if "train" in one.cmdline()))
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait() == 1
    asked = scratch / "scontrol.txt"
    assert (asked.read_text() if asked.exists() else "") == ("" if restarts else "requeue 7\n")
    # Slurm itself ends what a task has started.
    kill(*children)


def test_a_stage_is_built_once_at_a_time(origin: Workspace, scratch: Path) -> None:
    """A second worker for a stage waits for the first one, and then takes its result from the remote."""
    command = ("tools/fan_out.sh", "worker", str(scratch / "tasks"), STAGES[0])
    first = origin.running(*command, until="epoch +9/")
    second = origin.running(*command, until="waiting for another process that builds it")
    first.communicate()
    output, _ = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert ran(output) == ["download"]


def test_a_head_without_a_remote_trains_nothing(origin: Workspace, tmp_path: Path) -> None:
    """Without a remote to meet in, the head reports this and trains nothing."""
    head = origin.clone(tmp_path / "head")
    head.run("dvc", "remote", "remove", "store")
    output = head.run("tools/fan_out.sh", "head", fails=True)
    assert "error: DVC has no default remote" in output
    assert ran(output) == []


@pytest.mark.parametrize("stage", ["..", "evaluate@lenet5-0/../..", "train@lenet5-0"])
def test_a_worker_resets_only_clones_of_its_own(origin: Workspace, scratch: Path, stage: str) -> None:
    """A name that is no stage for workers is refused, before the folder that it may lead to loses an edit."""
    edited = origin.copy(scratch / "edited")
    edited.replace("README.md", "Fashion", "Edited")
    output = edited.run("tools/fan_out.sh", "worker", str(edited.folder / "tasks"), stage, fails=True)
    assert output == f"error: {stage} is not a stage of tools/fan_out.sh list\n"
    assert "Edited" in edited.text("README.md")


@pytest.mark.parametrize("arguments", [[], ["worker", "tasks"], ["nobody"], ["head", "lenet5"]], ids=str)
def test_wrong_arguments_of_the_script_show_its_usage(origin: Workspace, arguments: list[str]) -> None:
    """The script ends with its usage if its arguments are wrong."""
    assert "for example: worker ../tasks evaluate@lenet5-0" in origin.run("tools/fan_out.sh", *arguments, fails=True)
