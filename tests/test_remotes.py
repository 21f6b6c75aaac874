"""What a team shares: real DVC with an S3 server and a read-only web server on loopback."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, Quiet, Workspace, ran, serving

KEYS = ("lenet5", "fcnn", "cnn")
MOTO = ROOT / ".venv-slow/bin/moto_server"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server with a bucket called `team`, whose credentials are in the environment."""
    if not MOTO.is_file():
        pytest.skip("the S3 server is not installed: make test-all")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with (
        pytest.MonkeyPatch.context() as environment,
        (tmp_path_factory.mktemp("moto") / "log").open("w") as log,
        subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log) as server,
    ):
        for name, value in credentials.items():
            environment.setenv(name, value)
        for _ in range(100):
            time.sleep(0.2)
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/team", method="PUT")).close()  # noqa: S310 - loopback
                break
            except OSError:
                assert server.poll() is None, "the S3 server died"
        yield address
        server.terminate()


@pytest.fixture(scope="module")
def origin(checkout: Workspace, s3: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository of three architectures on `digits`, nothing trained, whose config names the bucket."""
    workspace = checkout.copy(tmp_path_factory.mktemp("origin") / "project")
    workspace.keep(*KEYS)
    workspace.small(epochs=12)
    workspace.run("dvc", "remote", "add", "--default", "team", "s3://team/fashion")
    workspace.run("dvc", "remote", "modify", "team", "endpointurl", s3)
    workspace.commit("three architectures on digits")
    return workspace


def results(workspace: Workspace) -> dict[str, bytes]:
    """All files that a run writes: locks, metrics, pictures, weights."""
    patterns = ("dvc.lock", "models/*", "metrics/**/*", "plots/*", "docs/*")
    files = [file for pattern in patterns for file in workspace.folder.glob(pattern) if file.is_file()]
    return {str(file.relative_to(workspace.folder)): file.read_bytes() for file in files}


def kill(process: "subprocess.Popen[str]") -> str:
    """Kill a process and all that it has started, as the loss of a machine does; return its remaining output."""
    parent = psutil.Process(process.pid)
    for one in [*parent.children(recursive=True), parent]:
        one.kill()
    return process.communicate()[0]


def test_many_machines_equal_one_and_a_killed_one_resumes(origin: Workspace, tmp_path: Path) -> None:
    """Three workers at once, one of them killed and resumed, and a head that trains nothing equal a single machine."""
    workers = {key: origin.clone(tmp_path / key) for key in KEYS}
    work = {key: ("tools/fan_out.sh", "worker", f"evaluate@{key}-0") for key in KEYS}
    lost = workers["cnn"].running(*work["cnn"], until="epoch +3/")
    others = {key: workers[key].start(*work[key]) for key in ("lenet5", "fcnn")}
    kill(lost)
    outputs = {"cnn": workers["cnn"].run(*work["cnn"])}
    outputs |= {key: worker.communicate()[0] for key, worker in others.items()}
    assert "cnn-0: resumes after epoch" in outputs["cnn"]
    trainings = {key: [stage for stage in ran(output) if "train@" in stage] for key, output in outputs.items()}
    assert trainings == {key: [f"train@{key}-0"] for key in KEYS}

    head = origin.clone(tmp_path / "head")
    assert {stage.split("@")[0] for stage in ran(head.run("tools/fan_out.sh", "head"))} == {
        *("download", "samples", "evaluate", "report", "neighbours", "leaderboard", "results")
    }
    single = origin.clone(tmp_path / "single")
    assert [f"train@{key}-0" for key in sorted(KEYS)] == [
        stage for stage in single.stages("repro", "--all-pipelines") if "train@" in stage
    ]
    assert results(head) == results(single)
    assert {f"models/{key}-0.safetensors" for key in KEYS} < results(head).keys()


def test_a_head_without_a_remote_trains_nothing(origin: Workspace, tmp_path: Path) -> None:
    """Without a remote to meet in, the head reports this and trains nothing."""
    head = origin.clone(tmp_path / "head")
    head.run("dvc", "remote", "remove", "team")
    output = head.run("tools/fan_out.sh", "head", fails=True)
    assert "error: DVC has no default remote" in output
    assert ran(output) == []


@pytest.fixture(scope="module")
def shared(origin: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository whose chosen model is trained, committed, and pushed to the bucket."""
    workspace = origin.clone(tmp_path_factory.mktemp("shared") / "project")
    workspace.run("dvc", "repro")
    workspace.commit("lenet5 on digits")
    workspace.run("dvc", "push")
    return workspace


@pytest.mark.parametrize("command", ["pull -d report", "pull models/lenet5-0.safetensors", "repro --pull"])
def test_a_clone_gets_the_chosen_model_without_training(shared: Workspace, tmp_path: Path, command: str) -> None:
    """With only the remote, a new clone gets the trained weights, and nothing is left to run."""
    other = shared.clone(tmp_path / "other")
    assert other.stages(*command.split()) == []
    assert other.stages("repro", "--pull") == []
    weights = "models/lenet5-0.safetensors"
    assert (other.folder / weights).read_bytes() == (shared.folder / weights).read_bytes()
    assert other.run("git", "status", "--porcelain") == ""


def test_a_version_of_the_model_is_fetched_by_its_name(shared: Workspace, tmp_path: Path) -> None:
    """A tag registers the chosen model, and `dvc artifacts get` fetches its weights from the repository's path."""
    shared.run("git", "tag", "--annotate", "classifier@v1.0.0", "--message", "LeNet-5")
    target = tmp_path / "classifier.safetensors"
    command = ("dvc", "artifacts", "get", str(shared.folder), "classifier", "--rev", "v1.0.0", "--out", str(target))
    shared.run(*command)
    assert target.read_bytes() == (shared.folder / "models/lenet5-0.safetensors").read_bytes()


def test_a_web_server_is_enough_to_read(shared: Workspace, tmp_path: Path) -> None:
    """A copy of the remote on a read-only web server gives a new clone the chosen model."""
    other = shared.clone(tmp_path / "other")
    (tmp_path / "copy").mkdir()
    shared.run("dvc", "remote", "add", "--local", "copy", str(tmp_path / "copy"))
    shared.run("dvc", "push", "--remote", "copy")
    with serving(partial(Quiet, directory=str(tmp_path / "copy"))) as address:
        other.run("dvc", "remote", "add", "--default", "--local", "public", address)
        assert other.stages("pull", "-d", "report") == []
        assert other.stages("repro", "--pull") == []
    assert other.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("arguments", [[], ["worker"], ["nobody"], ["head", "lenet5"]], ids=str)
def test_wrong_arguments_of_the_script_show_its_usage(origin: Workspace, arguments: list[str]) -> None:
    """The script ends with its usage if its arguments are wrong."""
    assert "for example: worker evaluate@lenet5-0" in origin.run("tools/fan_out.sh", *arguments, fails=True)
