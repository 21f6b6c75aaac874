"""Many machines: Slurm and Ray themselves, with several nodes on this host, one of which is lost."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, Workspace

pytestmark = pytest.mark.slow

RAY = ROOT / ".venv-slow/bin/ray"
SLURM = ("slurmctld", "slurmd", "munged", "sbatch")
# A training that is long enough to lose a node in the middle, and short ones.
LONG, KEYS = "cnn", ("cnn", "fcnn", "lenet5")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
SelectType=select/cons_tres
NodeName=n1 NodeHostname={host} Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} Port={ports[2]} CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def origin(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository of three architectures on `digits`, nothing trained, set up, whose remote is a folder."""
    folder = tmp_path_factory.mktemp("origin")
    workspace = checkout.copy(folder / "project")
    workspace.keep(*KEYS)
    workspace.small(epochs=5)
    workspace.epochs(LONG, 250)
    workspace.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    (workspace.folder / ".venv").symlink_to(sys.prefix)
    (workspace.folder / ".git/info/exclude").write_text(".venv\n")
    workspace.commit("three architectures on digits")
    return workspace


@pytest.fixture(scope="module")
def single(origin: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All files that a single machine writes."""
    workspace = origin.clone(tmp_path_factory.mktemp("single") / "project")
    workspace.run("dvc", "repro", "--all-pipelines")
    return workspace.results()


def free_ports(count: int) -> list[int]:
    """Ports that nothing uses."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait(condition: Callable[[], object], seconds: int) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.5)


def lose(process: psutil.Process) -> None:
    """Kill a process and all that it has started, as the loss of a machine does."""
    for one in [*process.children(recursive=True), process]:
        one.kill()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, psutil.Popen]]:
    """A Slurm cluster of two nodes; its daemons by node."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    if not all(shutil.which(name, path=path) for name in SLURM):
        pytest.skip("Debian's packages slurm-wlm and munge are not installed")
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    host = socket.gethostname()
    text = CONFIGURATION.format(host=host, user=getpass.getuser(), folder=tmp_path, ports=free_ports(3))
    (tmp_path / "slurm.conf").write_text(text)
    (tmp_path / "munge.key").write_bytes(os.urandom(64))
    (tmp_path / "munge.key").chmod(0o600)
    for name in ("state", "n1", "n2"):
        (tmp_path / name).mkdir()
    munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
    munge |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    commands = {
        "munge": [
            "munged",
            "--foreground",
            "--force",
            *(f"--{name}={tmp_path / file}" for name, file in munge.items()),
        ],
        "slurmctld": ["slurmctld", "-D"],
        "n1": ["slurmd", "-D", "-N", "n1"],
        "n2": ["slurmd", "-D", "-N", "n2"],
    }
    daemons: dict[str, psutil.Popen] = {}
    try:
        for name, command in commands.items():
            with (tmp_path / f"{name}.out").open("w") as log:
                daemons[name] = psutil.Popen(command, stdout=log, stderr=log)
            time.sleep(1)
        wait(lambda: "idle" in subprocess.run("sinfo", capture_output=True, text=True, check=False).stdout, 30)
        yield daemons
    finally:
        for daemon in daemons.values():
            if daemon.is_running():
                lose(daemon)
            daemon.wait()


def test_slurm_runs_the_tasks_of_a_lost_node_elsewhere(
    origin: Workspace,
    single: dict[str, bytes],
    slurm: dict[str, psutil.Popen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node is lost in the middle of a training; the script's commands then give a single machine's files."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    shutil.rmtree(origin.folder.with_name("store"), ignore_errors=True)
    submit = origin.copy(tmp_path / "submit")
    lines = [line[4:] for line in submit.text("examples/slurm.sh").splitlines() if line.startswith("#   ")]
    submit.run("bash", "-euc", "\n".join(lines))
    log = tmp_path / f"fashion/evaluate@{LONG}-0.log"
    wait(lambda: log.is_file() and re.search("epoch +9/", log.read_text()), 120)
    shown = subprocess.run(["squeue", "-h", "-o", "%K %A %N"], capture_output=True, text=True, check=True).stdout
    # The longest training is the array's first task.
    ((job, node),) = [line.split()[1:] for line in shown.splitlines() if line.startswith("0 ")]
    processes = psutil.process_iter(["cmdline"])
    (task,) = [one for one in processes if f"[{job}.batch]" in " ".join(one.info["cmdline"] or ())]
    for process in (slurm[node], task):
        lose(process)
    wait(lambda: not subprocess.run(["squeue", "-h"], capture_output=True, check=True).stdout, 400)
    assert f"{LONG}-0: resumes after epoch" in log.read_text()
    assert submit.results() == single


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], psutil.Process]]:
    """A Ray cluster of three nodes; a function that adds a node and returns its main process."""
    if not RAY.is_file():
        pytest.skip("Ray is not installed: make test-all")
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    started: list[psutil.Process] = []

    def node(*options: str) -> psutil.Process:
        before = {one.pid for one in psutil.process_iter() if one.name() == "raylet"}
        subprocess.run([RAY, "start", *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (new,) = [one for one in psutil.process_iter() if one.name() == "raylet" and one.pid not in before]
        started.append(new)
        return new

    try:
        node("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        yield lambda: node(f"--address=127.0.0.1:{port}", "--num-cpus=2")
    finally:
        subprocess.run([RAY, "stop", "--force"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_ray_runs_the_tasks_of_a_lost_node_elsewhere(
    origin: Workspace,
    single: dict[str, bytes],
    ray: Callable[[], psutil.Process],
    tmp_path: Path,
) -> None:
    """The node that trains is lost; another one resumes the training, and the files are those of a single machine."""
    shutil.rmtree(origin.folder.with_name("store"), ignore_errors=True)
    first = ray()
    submit = origin.copy(tmp_path / "submit")
    script = submit.start(str(RAY.with_name("python")), "examples/ray_cluster.py", str(tmp_path / "tasks"))
    checkpoints = tmp_path / f"tasks/evaluate@{LONG}-0/.checkpoints"
    wait(lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), 300)
    ray()
    lose(first)
    output, _ = script.communicate()
    assert script.returncode == 0, output
    assert f"{LONG}-0: resumes after epoch" in output
    assert f"evaluate@{LONG}-0: done" in output
    submit.run("tools/fan_out.sh", "head")
    assert submit.results() == single


def test_ctrl_c_ends_all_that_ray_runs(origin: Workspace, ray: Callable[[], psutil.Process], tmp_path: Path) -> None:
    """After Ctrl-C no training runs on any node."""
    shutil.rmtree(origin.folder.with_name("store"), ignore_errors=True)
    ray()
    submit = origin.copy(tmp_path / "submit")
    script = submit.start(str(RAY.with_name("python")), "examples/ray_cluster.py", str(tmp_path / "tasks"))
    checkpoints = tmp_path / f"tasks/evaluate@{LONG}-0/.checkpoints"
    wait(lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), 300)
    script.send_signal(2)
    script.communicate()
    assert script.returncode != 0
    running = [
        one for one in psutil.process_iter(["cwd"]) if (one.info["cwd"] or "").startswith(str(tmp_path / "tasks"))
    ]
    assert running == []
