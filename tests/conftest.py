"""Shared fixtures: the settings, the data sets, and copies of the project to work in."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from dvc.utils.serialize import modify_yaml

from fashion.cli.advice import explained
from fashion.data.datasets import DATASETS
from fashion.data.fetching import fetch
from fashion.data.reading import Part, read_part, read_split
from fashion.data.splitting import split
from fashion.files import write_bytes, write_json
from fashion.frames import write_csv
from fashion.judging import scores
from fashion.judging.evaluated import HISTORY
from fashion.networks import weights
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.settings.description import Pixels
from fashion.settings.params import Params
from fashion.training import engine
from tools.__main__ import app as tools

ROOT = Path(__file__).parents[1]
REAL = ROOT / "data/fashion-mnist"
SEEDS = "seeds:\n- 0\n- 1\n- 2\n"


def inputs(images: Any, pixels: Pixels) -> torch.Tensor:
    """What a network gets for uint8 images (n, 28, 28), in double precision: float64 (n, 1, 28, 28)."""
    return pixels.black + torch.tensor(images)[:, None].double() / 255 * (pixels.white - pixels.black)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Limit torch to one thread, since two test workers already occupy two cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def params() -> Params:
    """The project's own params.yaml."""
    return Params.load(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """The training part of `digits`."""
    folder = tmp_path_factory.mktemp("digits")
    list(fetch("digits", folder, None))
    return read_part(folder, "train")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `dvc repro` leaves it, with `digits` and lenet5 trained for five epochs."""
    folder = tmp_path_factory.mktemp("trained")
    text = (ROOT / "params.yaml").read_text().replace("dataset: fashion_mnist", "dataset: digits")
    text = re.sub(r"epochs: \d+", "epochs: 5", text)
    (folder / "params.yaml").write_text(text.replace("device: auto", "device: cpu"))
    description = Params.load(folder / "params.yaml").describe("lenet5")
    row = description.architecture
    list(fetch("digits", folder / "data/raw", None))
    part = read_part(folder / "data/raw", "train")
    write_csv(folder / "data/splits/lenet5.csv", split(part.labels, **description.split.model_dump()))
    parts = read_split(folder / "data/splits/lenet5.csv", part)
    hardware = choose("cpu", description.gpu)
    run = engine.begin(build(row.layers, row.init, 0), row, 0, hardware)
    list(engine.train(run, *parts))
    content = weights.dumps(run.best, weights.header(description, hardware.record()) | {"epoch": 5})
    write_bytes(folder / "models/lenet5-0.safetensors", content)
    return folder


@pytest.fixture
def inside(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def ranked(key: str, accuracy: float) -> dict[str, Any]:
    """A row of metrics/leaderboard.json: one training, with this accuracy on each part and each choice of images."""
    parts = ("train", "validation", "common", "test", "distinct", "clear")
    numbers = {"parameters": 44_426, "training_flops": 2_317_572_000_000, "test_images": 10_000}
    accuracies = dict.fromkeys((f"{part}_accuracy" for part in parts), accuracy)
    summary = {"seeds": 1, "mean": accuracy, "interval": None, "deviation": None, "p": None}
    other = {
        "seeds": {"validation": summary, "test": summary},
        "test_interval": [0.0, 1.0],
        "judge": False,
        "level_with": [],
    }
    return {"model": key, "split": "x", **numbers, **accuracies, **other, "published": {}}


PARTS = ("train", "validation", "common_validation", "test", "mirrored_test")
HARDWARE: dict[str, Any] = {"device": "cpu", "processor": "AVX2", "precision": "fp32", "kernels": "portable"}
HARDWARE |= {"compile": False, "channels_last": True, "deterministic": True}


def evaluated(name: str, truth: Any, predicted: Any, training: str = "", weights: str = "", epochs: int = 1) -> None:
    """Write what the stage evaluate writes of a training with these predictions on every part; epoch 1 is its best."""
    key, _, seed = name.rpartition("-")
    certain = np.eye(10)[predicted]
    what = {"model": key, "dataset": "fashion_mnist", "split": "x", "epoch": 1, "seed": int(seed)}
    what |= {"training": training, "weights": weights, "hardware": HARDWARE, "torch": "2.15"}
    what |= {"parameters": 10, "total_parameters": 10, "flops": 1}
    what |= {"training_flops": scores.training_flops(1, len(truth), epochs)}
    what |= dict.fromkeys(PARTS, scores.overall(truth, certain))
    what |= scores.details(truth, certain, DATASETS["fashion_mnist"].classes, 20)
    what["layers"] = [{"name": "logits", "kind": "Linear", "shape": [10], "parameters": 10}]
    write_json(Path(f"metrics/evaluate/{name}.json"), what)
    write_csv(Path(f"metrics/predictions/{name}.csv"), pd.DataFrame({"truth": truth, "prediction": predicted}))
    history = pd.DataFrame(0.5, index=range(epochs), columns=[*HISTORY])
    write_csv(Path(f"metrics/history/{name}.csv"), history.assign(epoch=range(1, epochs + 1)))


Tool = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Tool:
    """A function that runs `python -m tools` and returns the exit code, the standard output and the standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end, explained():
            tools(arguments, prog_name="python -m tools")
        output, errors = capsys.readouterr()
        # sys.exit with a message: Python prints it and exits with code 1.
        message = end.value.code if isinstance(end.value.code, str) else ""
        return (1 if message else int(end.value.code or 0)), output, errors + message

    return run


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git and DVC without the user's settings and repository, and no proxy for the servers of the tests."""
    identity = {f"GIT_{who}_{what}": "a@b.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    folder = tmp_path_factory.mktemp("settings")
    # The checkout may belong to another user, as in a container.
    (folder / "git").write_text("[safe]\n\tdirectory = *\n")
    others = {"GIT_CONFIG_GLOBAL": str(folder / "git"), "GIT_CONFIG_NOSYSTEM": "1"}
    others |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), str(folder))
    others |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            environment.delenv(name)
        for name, value in (identity | others).items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder with the official files."""
    return REAL


class Workspace:
    """A copy of the project's files in its own git repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this project, without the user's settings and GPUs."""
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FASHION_CHECKPOINTS": "",
            "FASHION_MNIST_MIRROR": "",
            "DVC_NO_ANALYTICS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command there and return its output; it must fail if `fails`, and succeed otherwise."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (done.returncode != 0) == fails, f"{command} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command there in the background, with standard error merged into its standard output."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Background jobs of a shell ignore Ctrl-C, and their children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads
        )

    def running(self, *command: str, until: str) -> "subprocess.Popen[str]":
        """Start a command there and return it once it has printed a line that matches `until`."""
        process = self.start(*command)
        assert process.stdout
        for line in process.stdout:
            if re.search(until, line):
                return process
        raise AssertionError(f"it never printed {until}")

    def stages(self, *command: str, fails: bool = False) -> list[str]:
        """Run a dvc command there and return the stages that it ran, sorted, without their files."""
        return ran(self.run("dvc", *command, fails=fails))

    def finish_queue(self) -> str:
        """Wait until DVC's queue has no experiment left to run, and return its table."""
        for _ in range(600):
            table = self.run("dvc", "queue", "status")
            if not re.search("Queued|Running", table):
                return table
            time.sleep(1)
        raise AssertionError(table)

    def results(self) -> dict[str, bytes]:
        """All files that a run writes: locks, metrics, pictures, weights."""
        patterns = ("dvc.lock", "models/*", "metrics/**/*", "plots/*", "docs/*")
        files = [file for pattern in patterns for file in self.folder.glob(pattern) if file.is_file()]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def text(self, file: str) -> str:
        """The content of a file."""
        return (self.folder / file).read_text()

    def json(self, file: str) -> Any:
        """The content of a JSON file."""
        return json.loads(self.text(file))

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace every occurrence of a text in a file; there must be at least one."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))

    def epochs(self, key: str, count: int) -> None:
        """Set an architecture's number of epochs."""
        path = self.folder / "params.yaml"
        start, row = path.read_text().split(f"\n  {key}:\n", 1)
        path.write_text(f"{start}\n  {key}:\n" + re.sub(r"epochs: \d+", f"epochs: {count}", row, count=1))

    def small(self, epochs: int) -> None:
        """Set the data set to `digits`, this number of epochs for every architecture, and a single seed."""
        self.replace("params.yaml", "dataset: fashion_mnist", "dataset: digits")
        params = self.folder / "params.yaml"
        text = re.sub(r"epochs: \d+", f"epochs: {epochs}", params.read_text())
        params.write_text(text.replace(SEEDS, "seeds:\n- 0\n"))

    def keep(self, *keys: str) -> None:
        """Remove all other architectures, and the locks, so that everything left can be trained."""
        with modify_yaml(self.folder / "params.yaml") as params:
            for section in ("models", "published"):
                for key in params[section].keys() - set(keys):
                    del params[section][key]
            params["more_seeds"]["models"] = [key for key in params["more_seeds"]["models"] if key in keys]
            for name in [name for name, row in params["budgets"].items() if row["model"] not in keys]:
                del params["budgets"][name]
        self.run("git", "rm", "--quiet", "--force", "--ignore-unmatch", "dvc.lock", "models/dvc.lock")

    def commit(self, message: str = "change") -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def copy(self, folder: Path) -> "Workspace":
        """A copy in another folder, caches included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder)

    def clone(self, folder: Path) -> "Workspace":
        """A git clone in another folder."""
        self.run("git", "clone", "--quiet", ".", str(folder))
        return Workspace(folder)


def ran(output: str) -> list[str]:
    """The stages that DVC ran according to its output, sorted, without their files."""
    lines = output.splitlines()
    return sorted(line.split("'")[1].removeprefix("models/dvc.yaml:") for line in lines if line.startswith("Running"))


def project(folder: Path) -> Workspace:
    """A committed copy of the project, uncommitted changes included, without ignored files and the 30 MB of images."""
    workspace = Workspace(folder)
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        check=True,
        capture_output=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file() and not name.endswith(".gz"):
            (workspace.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, workspace.folder / name)
    workspace.run("git", "init", "--quiet", "--initial-branch=main")
    workspace.commit("start")
    return workspace


class Quiet(SimpleHTTPRequestHandler):
    """A file server that writes no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Write no log."""


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a web server and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/"
        web.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the project."""
    return project(tmp_path_factory.mktemp("checkout") / "project")
