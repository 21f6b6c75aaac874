"""What a team shares: real DVC with an S3 server and a read-only web server on loopback."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT, Quiet, Workspace, ran, serving

KEYS = ("lenet5", "fcnn")
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
    """A repository of two architectures on `digits`, nothing trained, whose config names the bucket."""
    workspace = checkout.copy(tmp_path_factory.mktemp("origin") / "project")
    workspace.keep(*KEYS)
    workspace.small(epochs=1)
    workspace.run("dvc", "remote", "add", "--default", "team", "s3://team/fashion")
    workspace.run("dvc", "remote", "modify", "team", "endpointurl", s3)
    workspace.commit("two architectures on digits")
    return workspace


def test_workers_and_head_meet_in_a_bucket(origin: Workspace, tmp_path: Path) -> None:
    """Workers push what they build to S3, and a head on another machine trains and evaluates nothing."""
    for key in KEYS:
        done = ran(origin.run("tools/fan_out.sh", "worker", str(tmp_path / key), f"evaluate@{key}-0"))
        assert {f"train@{key}-0", f"evaluate@{key}-0"} < {*done}
    head = origin.clone(tmp_path / "head")
    names = {stage.partition("@")[0] for stage in ran(head.run("tools/fan_out.sh", "head"))}
    assert names == {"download", "samples", "report", "neighbours", "leaderboard", "results"}


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
