"""Checkpoints: whole or not at all, of the right training or ignored, one holder, never too many."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fashion.errors import FashionError
from fashion.running import checkpoints
from fashion.running.checkpoints import KEPT, PATIENCE, VARIABLE, Checkpoint, identity, opened, parse
from tests import kills

ONE, TWO = "1" * 64, "2" * 64
# What a training writes, in the folder that the test runs in.
RESULT = Path("models/net.safetensors")
STATE = ({"a/b": torch.arange(6.0).reshape(2, 3), "a/c": torch.tensor(7)}, {"epochs": [{"loss": 0.1 + 0.2}]})


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where checkpoints lie meanwhile."""
    project, folder = tmp_path / "project", tmp_path / "checkpoints"
    (project / "models").mkdir(parents=True)
    folder.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


@pytest.fixture
def said() -> list[str]:
    """What people were told."""
    return []


@contextmanager
def killed(name: str = ONE, say: Callable[[str], object] = print) -> Iterator[Checkpoint]:
    """A training that ends early."""
    with suppress(KeyboardInterrupt), opened(name, RESULT, say) as checkpoint:
        yield checkpoint
        raise KeyboardInterrupt


def left_behind(name: str = ONE) -> Path:
    """The file of a training that ended early."""
    with killed(name) as checkpoint:
        checkpoint.save(lambda: STATE)
    return Path(os.environ[VARIABLE], name, "state")


def test_what_was_saved_comes_back(said: list[str]) -> None:
    """Tensors and values are there again, to the bit; nothing is said of it."""
    left_behind()
    with opened(ONE, RESULT, said.append) as checkpoint:
        tensors, values = parse(checkpoint.read() or b"")
    assert values == STATE[1]
    assert tensors.keys() == STATE[0].keys()
    assert all(torch.equal(tensor, STATE[0][name]) for name, tensor in tensors.items())
    assert said == []


def finished(said: list[str]) -> None:
    """A training that wrote its result, which is gone again, as DVC deletes it before the stage runs once more."""
    with opened(ONE, RESULT, said.append) as checkpoint:
        checkpoint.save(lambda: STATE, last=True)
        RESULT.touch()
    RESULT.unlink()


def test_a_finished_training_is_there_until_it_is_recorded(said: list[str]) -> None:
    """If DVC was killed before it wrote its lock, the same training has its last state."""
    finished(said)
    with killed() as checkpoint:
        assert checkpoint.read() is not None


@pytest.mark.parametrize("sign", [checkpoints.LOCK, RESULT], ids=str)
def test_a_recorded_training_starts_over(root: Path, said: list[str], sign: Path) -> None:
    """A training that DVC has recorded, or whose result is still there, is trained from the beginning when asked."""
    finished(said)
    os.utime(root / ONE / "finished", (0, 0))
    sign.touch()
    with opened(ONE, RESULT, said.append) as checkpoint:
        assert checkpoint.read() is None


def test_a_recorded_training_goes_with_the_next_one(root: Path, said: list[str]) -> None:
    """The state of a finished training stays no longer than until another one starts."""
    finished(said)
    os.utime(root / ONE / "finished", (0, 0))
    checkpoints.LOCK.touch()
    with killed(TWO):
        assert [folder.name for folder in root.iterdir()] == [TWO]


def test_a_training_that_saved_nothing_leaves_nothing(root: Path, said: list[str]) -> None:
    """One that fails before its first save, or was killed there, takes no place among those that are kept."""
    with pytest.raises(FashionError), opened(ONE, RESULT, said.append):
        raise FashionError("too little memory")
    assert list(root.iterdir()) == []
    for number in range(KEPT):
        (root / f"{number:064x}").mkdir()
    left_behind(TWO)
    os.utime(root / TWO, (0, 0))
    with killed(ONE):
        assert {folder.name for folder in root.iterdir()} == {ONE, TWO}


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
def test_a_damaged_checkpoint_is_told_and_not_loaded(said: list[str], damage: Callable[[bytes], bytes]) -> None:
    """Cut off, changed in one bit, overwritten or replaced by noise: one sentence says that training starts over."""
    file = left_behind()
    file.write_bytes(damage(file.read_bytes()))
    with opened(ONE, RESULT, said.append) as checkpoint:
        assert checkpoint.read() is None
    assert said == [f"{file} is damaged or of another training: this one starts over."]


def test_a_foreign_checkpoint_is_told_and_not_loaded(root: Path, said: list[str]) -> None:
    """Another training's file in this one's place is not taken for it."""
    left_behind(TWO)
    (root / TWO).rename(root / ONE)
    with opened(ONE, RESULT, said.append) as checkpoint:
        assert checkpoint.read() is None
    assert "of another training" in said[0]


def test_two_trainings_of_the_same_share_nothing(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """The second is told to wait, and the first one's checkpoint is not touched."""
    monkeypatch.setattr(checkpoints, "GRACE", 0.1)
    with killed() as first:
        first.save(lambda: STATE)
        with (
            pytest.raises(FashionError, match="another process is already running this training"),
            opened(ONE, RESULT, said.append),
        ):
            pass
    with opened(ONE, RESULT, said.append) as third:
        assert third.read() is not None


def test_only_so_many_are_kept(root: Path, said: list[str]) -> None:
    """The oldest ones go, but none that somebody is at, and nothing else that lies there."""
    (root / "own work").mkdir()
    (root / "notes").touch()
    os.utime(root / "own work", (0, 0))
    names = [f"{number:064x}" for number in range(2 * KEPT)]
    with killed(TWO):
        os.utime(root / TWO, (0, 0))
        for number, name in enumerate(names):
            left_behind(name)
            os.utime(root / name, (number + 1, number + 1))
        with opened(ONE, RESULT, said.append):
            left = {path.name for path in root.iterdir()}
    assert left == {"own work", "notes", TWO, ONE, *names[-KEPT + 1 :]}


def test_what_a_killed_write_left_goes(root: Path) -> None:
    """Half-written files do not pile up."""
    left_behind()
    (root / ONE / ".state.abc.tmp").write_bytes(b"half")
    left_behind()
    assert {file.name for file in (root / ONE).iterdir()} == {"state", "lock"}


def test_saving_is_seldom_enough(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """After a save that took a second none follows for so many seconds as keep its share small."""
    now, saved = 1000.0, []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)

    def state() -> tuple[dict[str, torch.Tensor], Any]:
        nonlocal now
        saved.append(now)
        now += 1
        return STATE

    with opened(ONE, RESULT, said.append) as checkpoint:
        for _ in range(100):
            checkpoint.save(state)
            now += 1
    assert saved[0] == 1000
    assert saved[1] - saved[0] == PATIENCE + 1


def test_a_full_disk_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """A save that fails says so in one sentence, training goes on, and the checkpoint before it still stands."""
    file = left_behind()
    content = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with killed(ONE, said.append) as checkpoint, monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        checkpoint.save(lambda: STATE)
    assert said == [f"no new checkpoint ({file}: [Errno 28] No space left on device); training continues without it."]
    assert file.read_bytes() == content
    assert {path.name for path in file.parent.iterdir()} == {"state", "lock"}


def test_an_identity_is_of_everything() -> None:
    """Settings, their order and the data make the name; the same ones make the same."""
    data = np.arange(10)
    names = [
        identity({"a": 1, "b": 2}, data),
        identity({"a": 1, "b": 3}, data),
        identity({"b": 2, "a": 1}, data),
        identity({"a": 1, "b": 2}, data + 1),
    ]
    assert len(set(names)) == 4
    assert identity(json.loads('{"a": 1, "b": 2}'), data) == names[0]


@pytest.mark.parametrize("times", [pytest.param(4, marks=pytest.mark.dvc), pytest.param(100, marks=pytest.mark.slow)])
def test_killed_trainings_resume_to_the_same_bytes(tmp_path: Path, times: int) -> None:
    """A training killed at random moments, and while it saves, and started again ends like one left alone."""
    resumed, wrong = kills.different(tmp_path / "project", times, seed=time.time_ns())
    assert resumed > 0
    assert wrong == 0
