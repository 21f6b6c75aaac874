"""Checkpoints: complete or absent, ignored if of another training, used by one process, limited in number."""

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fashion.errors import FashionError
from fashion.running import checkpoints
from fashion.running.checkpoints import KEPT, PATIENCE, VARIABLE, Checkpoint, identity, opened, parse
from tests.campaigns import kills

ONE, TWO = "1" * 64, "2" * 64
# The result of a training, in the working directory.
RESULT = Path("models/net.safetensors")
STATE = ({"a/b": torch.arange(6.0).reshape(2, 3), "a/c": torch.tensor(7)}, {"epochs": [{"loss": 0.1 + 0.2}]})


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the checkpoints, outside the project."""
    project, folder = tmp_path / "project", tmp_path / "checkpoints"
    (project / "models").mkdir(parents=True)
    folder.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


@pytest.fixture
def messages() -> list[str]:
    """The messages that were reported."""
    return []


@contextmanager
def killed(name: str = ONE, say: Callable[[str], object] = print) -> Iterator[Checkpoint]:
    """A training that is interrupted."""
    with suppress(KeyboardInterrupt), opened(name, RESULT, say) as checkpoint:
        yield checkpoint
        raise KeyboardInterrupt


def interrupted(name: str = ONE) -> Path:
    """The checkpoint file of an interrupted training."""
    with killed(name) as checkpoint:
        checkpoint.save(lambda: STATE)
    return Path(os.environ[VARIABLE], name, "state")


def test_an_interrupted_training_resumes_from_what_was_saved(messages: list[str]) -> None:
    """The saved tensors and values are read back to the bit, and nothing is reported."""
    interrupted()
    with opened(ONE, RESULT, messages.append) as checkpoint:
        tensors, values = parse(checkpoint.read() or b"")
    assert values == STATE[1]
    assert tensors.keys() == STATE[0].keys()
    assert all(torch.equal(tensor, STATE[0][name]) for name, tensor in tensors.items())
    assert messages == []


def finished(messages: list[str]) -> None:
    """A finished training whose result is deleted, as DVC does before it runs the stage again."""
    with opened(ONE, RESULT, messages.append) as checkpoint:
        checkpoint.save(lambda: STATE, last=True)
        RESULT.touch()
    RESULT.unlink()


def test_a_finished_training_resumes_until_it_is_recorded(messages: list[str]) -> None:
    """If DVC is killed before it writes its lock, the same training resumes from its last state."""
    finished(messages)
    with killed() as checkpoint:
        assert checkpoint.read() is not None


@pytest.mark.parametrize("sign", [checkpoints.LOCK, RESULT], ids=str)
def test_a_recorded_training_does_not_resume(root: Path, messages: list[str], sign: Path) -> None:
    """A training that DVC has recorded, or whose result still exists, starts from the beginning."""
    finished(messages)
    os.utime(root / ONE / "finished", (0, 0))
    sign.touch()
    with opened(ONE, RESULT, messages.append) as checkpoint:
        assert checkpoint.read() is None


def test_a_recorded_training_is_deleted_by_the_next_one(root: Path, messages: list[str]) -> None:
    """The checkpoint of a recorded training is deleted when another training starts."""
    finished(messages)
    os.utime(root / ONE / "finished", (0, 0))
    checkpoints.LOCK.touch()
    with killed(TWO):
        assert {path.stem for path in root.iterdir()} == {TWO}


def test_a_training_that_saved_nothing_leaves_nothing(root: Path, messages: list[str]) -> None:
    """A training that failed or was killed before its first save does not count among those that are kept."""
    with pytest.raises(FashionError), opened(ONE, RESULT, messages.append):
        raise FashionError("too little memory")
    assert list(root.iterdir()) == []
    for number in range(KEPT):
        (root / f"{number:064x}").mkdir()
    interrupted(TWO)
    os.utime(root / TWO, (0, 0))
    with killed(ONE):
        assert {path.stem for path in root.iterdir()} == {ONE, TWO}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda _: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-4] + bytes(4),
        lambda content: content + b"more",
        lambda _: os.urandom(1000),
    ],
)
def test_a_damaged_checkpoint_is_reported_and_not_resumed(
    messages: list[str], damage: Callable[[bytes], bytes]
) -> None:
    """If a checkpoint is truncated, extended or changed, even in one bit, a message says that training starts over."""
    file = interrupted()
    file.write_bytes(damage(file.read_bytes()))
    with opened(ONE, RESULT, messages.append) as checkpoint:
        assert checkpoint.read() is None
    assert messages == [f"{file} is damaged or of another training: this one starts over."]


def test_a_foreign_checkpoint_is_reported_and_not_resumed(root: Path, messages: list[str]) -> None:
    """Another training's checkpoint in this training's folder is reported and not loaded."""
    interrupted(TWO)
    (root / TWO).rename(root / ONE)
    with opened(ONE, RESULT, messages.append) as checkpoint:
        assert checkpoint.read() is None
    assert "of another training" in messages[0]


def test_the_same_training_cannot_run_twice_at_once(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    """The second process is refused, and the first one's checkpoint stays intact."""
    monkeypatch.setattr(checkpoints, "GRACE", 0.1)
    with killed() as first:
        first.save(lambda: STATE)
        with (
            pytest.raises(FashionError, match="another process is already running this training"),
            opened(ONE, RESULT, messages.append),
        ):
            pass
    with opened(ONE, RESULT, messages.append) as third:
        assert third.read() is not None


def test_trainings_that_start_at_once_do_not_disturb_each_other(root: Path, messages: list[str]) -> None:
    """Each has its folder to itself, whatever the others delete."""

    def start(name: str) -> None:
        for _ in range(100):
            with killed(name, messages.append) as checkpoint:
                checkpoint.save(lambda: STATE)
                (root / name / "state").unlink()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, [f"{number:064x}" for number in range(4)]))
    assert not messages
    assert not list(root.iterdir())


def test_the_number_of_checkpoints_is_limited(root: Path, messages: list[str]) -> None:
    """The oldest checkpoints are deleted, except those in use, and other files and folders are kept."""
    (root / "own work").mkdir()
    (root / "notes").touch()
    os.utime(root / "own work", (0, 0))
    names = [f"{number:064x}" for number in range(2 * KEPT)]
    with killed(TWO):
        os.utime(root / TWO, (0, 0))
        for number, name in enumerate(names):
            interrupted(name)
            os.utime(root / name, (number + 1, number + 1))
        with opened(ONE, RESULT, messages.append):
            remaining = {path.stem for path in root.iterdir()}
    assert remaining == {"own work", "notes", TWO, ONE, *names[-KEPT + 1 :]}


def test_a_resumed_training_deletes_half_written_files(root: Path) -> None:
    """A file that a killed process left half-written is deleted when the training starts again."""
    interrupted()
    (root / ONE / "state.tmp").write_bytes(b"half")
    interrupted()
    assert {file.name for file in (root / ONE).iterdir()} == {"state"}


def test_saving_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    """After a save that took one second, no other save starts for PATIENCE seconds."""
    now, saved = 1000.0, []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)

    def state() -> tuple[dict[str, torch.Tensor], Any]:
        nonlocal now
        saved.append(now)
        now += 1
        return STATE

    with opened(ONE, RESULT, messages.append) as checkpoint:
        for _ in range(100):
            checkpoint.save(state)
            now += 1
    assert saved[0] == 1000
    assert saved[1] - saved[0] == PATIENCE + 1


def test_a_full_disk_keeps_the_previous_checkpoint(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    """A failed save is reported in one sentence, training continues, and the previous checkpoint is kept."""
    file = interrupted()
    content = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with killed(ONE, messages.append) as checkpoint, monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        checkpoint.save(lambda: STATE)
    expected = f"no new checkpoint ({file}: [Errno 28] No space left on device); training continues without it."
    assert messages == [expected]
    assert file.read_bytes() == content
    assert {path.name for path in file.parent.iterdir()} == {"state"}


def test_a_checkpoint_that_does_not_fit_names_the_cause(root: Path, messages: list[str]) -> None:
    """If the system ends a save in the middle, its reason is reported in one line, and nothing of the save is left."""
    tensors = {"large": torch.zeros(2**18)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with killed(ONE, messages.append) as checkpoint:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
        try:
            checkpoint.save(lambda: (tensors, {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        left = {path.name for path in (root / ONE).iterdir()}
    (message,) = messages
    assert "File too large" in message
    assert message.isprintable()
    assert not left


def test_identity_depends_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other settings, another order of them, other data or another processor change it, and equal ones do not."""
    data = np.arange(10)
    names = [
        identity({"a": 1, "b": 2}, data),
        identity({"a": 1, "b": 3}, data),
        identity({"b": 2, "a": 1}, data),
        identity({"a": 1, "b": 2}, data + 1),
    ]
    assert identity(json.loads('{"a": 1, "b": 2}'), data) == names[0]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "another"})
    assert len({*names, identity({"a": 1, "b": 2}, data)}) == 5


@pytest.mark.parametrize("times", [pytest.param(4, marks=pytest.mark.dvc), pytest.param(100, marks=pytest.mark.slow)])
def test_killed_trainings_resume_to_the_same_bytes(tmp_path: Path, times: int) -> None:
    """A training killed at random moments and during saves resumes, and ends with the bytes of an undisturbed one."""
    resumed, wrong = kills.kill_and_compare(tmp_path / "project", times, seed=time.time_ns())
    assert resumed > 0
    assert wrong == 0
