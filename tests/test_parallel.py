"""Several processes train one network as a single process does, and all end when one of them dies."""

import csv
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.conftest import Workspace

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.dvc

FIGURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@pytest.fixture(scope="module")
def prepared(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy on `digits` with two epochs for each architecture, in fp32, with two processes of one lane."""
    workspace = checkout.copy(tmp_path_factory.mktemp("parallel") / "project")
    for old, new in {
        "dataset: fashion_mnist": "dataset: digits",
        "precision: auto": "precision: fp32",
        "processes: 1": "processes: 2",
    }.items():
        workspace.replace("params.yaml", old, new)
    epochs(workspace, 2)
    workspace.stages("repro", "download", "split")
    return workspace


@pytest.fixture
def workspace(prepared: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it to train in."""
    return prepared.copy(tmp_path / "project")


def epochs(workspace: Workspace, count: int) -> None:
    """Set every architecture's number of epochs."""
    params = workspace.folder / "params.yaml"
    params.write_text(re.sub(r"epochs: \d+", f"epochs: {count}", params.read_text()))
    workspace.run(sys.executable, "-m", "stages", "check")


def command(key: str) -> list[str]:
    """The command that trains an architecture."""
    return [sys.executable, "-m", "stages", "train", key]


def trained(workspace: Workspace, key: str) -> dict[str, list[float]]:
    """Train, and return the figures of each epoch."""
    workspace.run(*command(key))
    history = {}
    for figure in FIGURES:
        with (workspace.folder / f"metrics/train/{key}/plots/metrics/{figure}.tsv").open() as file:
            history[figure] = [float(row[figure]) for row in csv.DictReader(file, delimiter="\t")]
    return history


def begun(workspace: Workspace) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """Start a training of lenet5 and return it, once it has a checkpoint, with its processes in order."""
    process = workspace.running(*command("lenet5"), until=r"epoch +2/")
    children = psutil.Process(process.pid).children()
    return process, sorted(children, key=lambda child: int(child.environ()["RANK"]))


@pytest.mark.parametrize("key", ["lenet5", "cnn", "conv3_pool2_bn"])
def test_two_processes_train_as_one(workspace: Workspace, key: str) -> None:
    """Figures and weights equal those of one process to the bit, even with dropout and batch norm."""
    weights = workspace.folder / f"models/{key}.safetensors"
    two, content = trained(workspace, key), weights.read_bytes()
    workspace.replace("params.yaml", "processes: 2", "processes: 1")
    assert trained(workspace, key) == two
    assert weights.read_bytes() == content


def test_two_machines_train_as_one(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With torchrun's variables set, the same command on a second machine joins the training and writes no weights."""
    expected = trained(workspace.copy(tmp_path / "one"), "lenet5")
    workspace.replace("params.yaml", "processes: 2", "processes: 1")
    other = workspace.copy(tmp_path / "other")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "1"}.items():
        monkeypatch.setenv(f"PET_{name}", value)
    process = other.start(*command("lenet5"))
    monkeypatch.setenv("PET_NODE_RANK", "0")
    assert trained(workspace, "lenet5") == expected
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    assert not (other.folder / "models/lenet5.safetensors").exists()


def test_lanes_that_cannot_be_shared_are_reported(workspace: Workspace) -> None:
    """If the lanes cannot be divided equally among the processes, one sentence reports it."""
    workspace.replace("params.yaml", "processes: 2", "processes: 3")
    output = workspace.run(*command("lenet5"), fails=True)
    # One line, since no process was started.
    assert output == "error: 3 processes cannot share 2 lanes: make gpu.lanes a multiple of 3.\n"


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_all_and_the_training_resumes(workspace: Workspace, tmp_path: Path, rank: int) -> None:
    """One sentence names the killed process, and the same command resumes and ends with the same bytes."""
    epochs(workspace, 60)
    uninterrupted = workspace.copy(tmp_path / "uninterrupted")
    process, workers = begun(workspace)
    workers[rank].kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    expected = f"error: process {rank} was killed; the same command resumes from the last checkpoint."
    assert output.splitlines()[-1] == expected
    assert "Traceback" not in output
    assert "resumes after epoch" in workspace.run(*command("lenet5"))
    uninterrupted.run(*command("lenet5"))
    weights = "models/lenet5.safetensors"
    assert (workspace.folder / weights).read_bytes() == (uninterrupted.folder / weights).read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: str(sent.name))
def test_all_processes_end_on_a_signal(workspace: Workspace, sent: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end every process, and one sentence reports it."""
    epochs(workspace, 60)
    process, workers = begun(workspace)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.fullmatch(
        r"error: lenet5: interrupted in epoch \d+; the same command resumes the training\.", output.splitlines()[-1]
    )
    assert output.count("error") == 1
    assert "Traceback" not in output
    assert not any(worker.is_running() for worker in workers)


def test_processes_end_when_their_launcher_is_killed(workspace: Workspace) -> None:
    """If the process that started the others is killed, they end and write no weights."""
    epochs(workspace, 60)
    process, workers = begun(workspace)
    process.kill()
    process.communicate(timeout=20)
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert not (workspace.folder / "models/lenet5.safetensors").exists()


def test_a_signal_during_a_finalizer_is_not_lost(workspace: Workspace) -> None:
    """A SIGTERM that arrives while an object is finalized still ends the process, without a traceback."""
    program = """
import os, signal, time
from fashion.running.lifetime import end_when_asked
class Closing:
    def __del__(self): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0)
end_when_asked()
try:
    Closing()
    time.sleep(60)
except KeyboardInterrupt:
    print("ended")
"""
    assert workspace.run(sys.executable, "-c", program) == "ended\n"
