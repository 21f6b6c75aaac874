"""Checkpoints: complete or absent, ignored if of another training, used by one process."""

import hashlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.training import checkpoints
from fashion.training.checkpoints import KEPT, PATIENCE, VARIABLE, Checkpoint, identity, opened, parse
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


def nothing(_: str) -> bool:
    """As if DVC had recorded no result."""
    return False


@contextmanager
def killed(
    name: str = ONE, say: Callable[[str], object] = print, recorded: Callable[[str], bool] = nothing
) -> Iterator[Checkpoint]:
    """A training that is interrupted."""
    with suppress(KeyboardInterrupt), opened(name, RESULT, recorded, say) as checkpoint:
        yield checkpoint
        raise KeyboardInterrupt


def interrupted(name: str = ONE) -> Path:
    """The checkpoint file of an interrupted training."""
    with killed(name) as checkpoint:
        checkpoint.save(lambda: STATE)
    return Path(os.environ[VARIABLE], name, "state")


def read(say: Callable[[str], object] = print) -> bytes | None:
    """What the same training reads when it starts again."""
    found = []
    with killed(ONE, say) as checkpoint:
        found.append(checkpoint.read())
    return found[0]


def test_an_interrupted_training_resumes_from_what_was_saved(root: Path) -> None:
    """The saved tensors and values are read back to the bit without a message, and half-written files are deleted."""
    said: list[str] = []
    interrupted()
    (root / ONE / "state.tmp").write_bytes(b"half")
    tensors, values = parse(read(said.append) or b"")
    assert values == STATE[1]
    assert tensors.keys() == STATE[0].keys()
    assert all(torch.equal(tensor, STATE[0][name]) for name, tensor in tensors.items())
    assert (said, [file.name for file in (root / ONE).iterdir()]) == ([], ["state"])


def finished(name: str) -> str:
    """The MD5 sum of the result of a training that ended, and whose result DVC deleted."""
    with opened(name, RESULT, nothing, print) as checkpoint:
        checkpoint.save(lambda: STATE, last=True)
        RESULT.write_text(name)
    RESULT.unlink()
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("sign", [None, "recorded", "result"])
def test_a_finished_training_resumes_until_it_is_recorded(root: Path, sign: str | None) -> None:
    """A finished training resumes unless DVC has recorded this very result or it exists; the lock's time is nothing."""
    md5 = finished(ONE)
    finished(TWO)
    Path("models/dvc.lock").touch()
    if sign == "result":
        RESULT.touch()
    with killed(ONE, recorded=lambda one: one == md5 and sign == "recorded") as checkpoint:
        assert (checkpoint.read() is None) == bool(sign)
        assert (root / TWO).is_dir()


def test_what_is_recorded_is_deleted(root: Path) -> None:
    """When a training starts, it deletes the recorded results of others, and no folder that is not a checkpoint's."""
    md5 = finished(ONE)
    (root / "own work").mkdir()
    with killed(TWO, recorded=lambda one: one == md5):
        assert {path.stem for path in root.iterdir()} == {TWO, "own work"}


def test_however_many_are_killed_together_each_resumes() -> None:
    """Of twenty trainings that were killed together, each resumes, in whatever order they start again."""
    names = [f"{number:064x}" for number in range(20)]
    for name in names:
        interrupted(name)
    for name in reversed(names):
        with killed(name) as checkpoint:
            assert checkpoint.read()


def test_old_checkpoints_are_deleted_unless_their_training_runs() -> None:
    """A training that starts deletes what was saved more than KEPT days ago, but not its own or a running one's."""
    names = [f"{number:064x}" for number in range(3)]
    files = [interrupted(name) for name in names]
    for file, days in zip(files, (KEPT + 1, KEPT + 1, KEPT - 1), strict=True):
        then = time.time() - timedelta(days=days).total_seconds()
        os.utime(file, (then, then))
    with killed(names[0]) as own, killed(names[2]) as other:
        assert own.read()
        assert other.read()
        assert [file.is_file() for file in files] == [True, False, True]


def test_a_training_that_saved_nothing_leaves_nothing(root: Path) -> None:
    """What is left of a training that failed or was killed before its first save is deleted."""
    with pytest.raises(FashionError), opened(ONE, RESULT, nothing, print):
        raise FashionError("too little memory")
    assert list(root.iterdir()) == []
    (root / f"{0:064x}").mkdir()
    interrupted(TWO)
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
        lambda _: interrupted(TWO).read_bytes(),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_reported(damage: Callable[[bytes], bytes]) -> None:
    """If a checkpoint is of another training or changed, even in one bit, a message says that training starts over."""
    said: list[str] = []
    file = interrupted()
    file.write_bytes(damage(file.read_bytes()))
    assert read(said.append) is None
    assert said == [f"{file} is damaged or of another training: this one starts over."]


def test_the_same_training_cannot_run_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process is refused, and the first one's checkpoint stays intact."""
    monkeypatch.setattr(checkpoints, "GRACE", 0.1)
    with killed() as first:
        first.save(lambda: STATE)
        with pytest.raises(FashionError, match="another process is already running this training"), killed():
            pass
    assert read() is not None


def test_trainings_that_start_at_once_do_not_disturb_each_other(root: Path) -> None:
    """Each has its folder to itself, whatever the others delete."""
    said: list[str] = []

    def start(name: str) -> None:
        for _ in range(100):
            with killed(name, said.append) as checkpoint:
                checkpoint.save(lambda: STATE)
                (root / name / "state").unlink()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, [f"{number:064x}" for number in range(4)]))
    assert not said
    assert not list(root.iterdir())


def test_saving_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a save that took one second, no other save starts for PATIENCE seconds."""
    now, saved = 1000.0, []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)

    def state() -> tuple[dict[str, torch.Tensor], Any]:
        nonlocal now
        saved.append(now)
        now += 1
        return STATE

    with killed() as checkpoint:
        for _ in range(100):
            checkpoint.save(state)
            now += 1
    assert saved[:2] == [1000, 1000 + PATIENCE + 1]


@pytest.mark.parametrize("limited", [True, False])
def test_a_save_that_fails_keeps_the_previous_checkpoint(monkeypatch: pytest.MonkeyPatch, limited: bool) -> None:
    """A failed save is reported in one line with the system's reason, and leaves only the previous checkpoint."""
    said, limits = list[str](), resource.getrlimit(resource.RLIMIT_FSIZE)
    file = interrupted()
    content = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with killed(ONE, said.append) as checkpoint, monkeypatch.context() as patch:
        if limited:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
        else:
            patch.setattr("pathlib.Path.replace", full)
        try:
            checkpoint.save(lambda: ({"large": torch.zeros(2**18)}, {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
    reason = "[Errno 27] File too large" if limited else "[Errno 28] No space left on device"
    assert said == [f"no new checkpoint ({file}: {reason}); training continues without it."]
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == ["state"]


def test_identity_depends_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other settings, another order of them, other data or another processor change it, and equal ones do not."""
    images, plain = np.zeros((1, 28, 28), np.uint8), {"a": 1, "b": 2}
    data, other = ([Part(images, np.array([label]))] for label in (0, 1))
    names = [identity(header, data) for header in (plain, {"a": 1, "b": 3}, {"b": 2, "a": 1})]
    names.append(identity(plain, other))
    assert identity(dict(plain), [Part(images.copy(), np.array([0]))]) == names[0]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "another"})
    assert len({*names, identity(plain, data)}) == 5


@pytest.mark.slow
def test_killed_trainings_resume_to_the_same_bytes(tmp_path: Path) -> None:
    """A training killed at random moments and during saves resumes, and ends with the bytes of an undisturbed one."""
    resumed, wrong = kills.kill_and_compare(tmp_path / "project", 100, seed=time.time_ns())
    assert resumed > 0
    assert wrong == 0
