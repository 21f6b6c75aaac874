"""Checkpoints of unfinished trainings, outside the outputs that DVC deletes, so that a killed training resumes.

The checkpoint of a finished training stays until DVC has recorded the result; otherwise, if DVC is killed first, the
whole training would run again.
"""

import hashlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import torch
from torch import Tensor

from fashion.data.reading import Part
from fashion.errors import FashionError, on_one_line
from fashion.files import replacing

# Tensors by name, and plain values.
State = tuple[dict[str, Tensor], Any]
# Names a folder to use instead of .checkpoints in the project's root, on a runner's scratch disk for example.
VARIABLE = "FASHION_CHECKPOINTS"
# Days after the last save until a checkpoint is deleted, so that the folder does not grow for ever.
KEPT = 30
# The pause before the next save, as a multiple of the last save's duration: saving takes less than 2 % of the time.
PATIENCE = 60
# The bytes of the checksum at a file's end.
DIGEST = 32
# Seconds that an interrupted process may take to end.
GRACE = 10.0
# The end of the name of a finished training's state, after the MD5 sum of its result.
FINISHED = ".finished"
# Whether DVC has recorded a result of that MD5 sum.
Recorded = Callable[[str], bool]


def identity(header: dict[str, Any], parts: Iterable[Part]) -> str:
    """A name for what determines a training's results to the bit: its header, its data and the processor.

    header: plain values; the order of its mappings matters. Returns 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([header, dict(torch.cpu.get_capabilities())]).encode())
    for part in parts:
        digest.update(part.images.tobytes() + part.labels.tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The checkpoint file of one training; messages for people go to `say`."""

    def __init__(self, file: Path, say: Callable[[str], object]) -> None:
        self._file = file
        self._say = say
        self._next = 0.0

    def read(self) -> bytes | None:
        """The content saved last, for `parse`; None if there is none, or if it is damaged."""
        if not self._file.is_file():
            return None
        content = self._file.read_bytes()
        if content[-DIGEST:] != self._digest(io.BytesIO(content[:-DIGEST])):
            self._say(f"{self._file} is damaged or of another training: this one starts over.")
            return None
        return content[:-DIGEST]

    def save(self, state: Callable[[], State], last: bool = False) -> None:
        """Replace the saved state, unless the last save was too short a time ago.

        last: the training ends with this state, so it is saved in any case. If saving fails, training continues.
        """
        started = time.monotonic()
        if started < self._next and not last:
            return
        try:
            with replacing(self._file) as file:
                torch.save(state(), file)
                file.seek(0)
                file.write(self._digest(file))
        # On a full disk torch.save raises RuntimeError.
        except (OSError, RuntimeError) as error:
            # torch reports that it could not write the rest; the system's reason is the context.
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            self._say(f"no new checkpoint ({self._file}: {on_one_line(str(reason))}); training continues without it.")
        self._next = time.monotonic() + PATIENCE * (time.monotonic() - started)

    def _digest(self, content: BinaryIO) -> bytes:
        """The checksum of the content, read to its end, and of the training's name."""
        name = self._file.parent.name.encode()
        return hashlib.file_digest(content, lambda: hashlib.sha256(name)).digest()  # type: ignore[arg-type] # any hash


def parse(content: bytes) -> State:
    """The state in a checkpoint, with its tensors on the CPU."""
    state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


@contextmanager
def opened(name: str, result: Path, recorded: Recorded, say: Callable[[str], object]) -> Iterator[Checkpoint]:
    """The checkpoint of the training with that `identity`, which writes `result`; locked while the body runs.

    When the body completes, the training counts as finished. Raises FashionError if another process is running this
    training.
    """
    root = Path(os.environ.get("DVC_ROOT", ""), os.environ.get(VARIABLE) or ".checkpoints")
    folder = root / name
    state = folder / "state"
    root.mkdir(parents=True, exist_ok=True)
    try:
        # The system releases the lock when the process that holds it dies.
        lock = _lock(folder).acquire(timeout=GRACE)
    except filelock.Timeout:
        raise FashionError("another process is already running this training: wait for it, or end it.") from None
    with lock:
        folder.mkdir(exist_ok=True)
        # A process that was killed while writing leaves these behind.
        for file in folder.glob("*.tmp"):
            file.unlink()
        for finished in [*folder.glob(f"*{FINISHED}")]:
            # DVC deletes a stage's outputs before it runs it.
            if result.exists() or recorded(finished.stem):
                finished.unlink()
            else:
                finished.replace(state)
        _prune(root, folder, recorded)
        try:
            yield Checkpoint(state, say)
            if state.is_file():
                with result.open("rb") as content:
                    md5 = hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False))
                state.replace(folder / f"{md5.hexdigest()}{FINISHED}")
        finally:
            if not any(folder.iterdir()):
                _delete(folder)


def _prune(root: Path, own: Path, recorded: Recorded) -> None:
    """Delete the checkpoints of others with nothing useful; those of running trainings are locked, and stay."""
    for folder in root.iterdir():
        if re.fullmatch("[0-9a-f]{64}", folder.name) and folder != own:
            # Other processes may hold or delete theirs at this moment; this training continues in any case.
            with suppress(OSError), _lock(folder).acquire(timeout=0):
                if not _useful(folder, recorded):
                    _delete(folder)


def _useful(folder: Path, recorded: Recorded) -> bool:
    """Whether a folder has a state that somebody can resume and that is not too old."""
    states = [folder / "state", *(file for file in folder.glob(f"*{FINISHED}") if not recorded(file.stem))]
    oldest = time.time() - timedelta(days=KEPT).total_seconds()
    return any(file.is_file() and file.stat().st_mtime > oldest for file in states)


def _lock(folder: Path) -> filelock.BaseFileLock:
    """The lock of a training's folder. It lies next to the folder, so that it is held before the folder is made."""
    return filelock.FileLock(folder.with_suffix(".lock"))


def _delete(folder: Path) -> None:
    """Delete a locked folder, and its lock's file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)
