"""Unfinished trainings, kept outside the outputs that DVC deletes, so that a killed one goes on where it was.

A finished one stays until DVC has recorded its result: DVC killed before that would train it all again.
"""

import hashlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from fashion import FashionError

# Another place than .checkpoints in the project's root: a runner's scratch disk.
VARIABLE = "FASHION_CHECKPOINTS"
# Trainings that are kept; the oldest ones beyond it go.
KEPT = 5
# The next one waits so many times as long as the last one took, so that saving takes less than 3 % of the time.
PATIENCE = 60
# Bytes of the sum at a file's end.
DIGEST = 32
# Seconds in which a process that was told to end does.
GRACE = 10.0
# DVC writes it once a training has ended and its result is in the cache.
LOCK = Path("models/dvc.lock")


def identity(header: dict[str, Any], *arrays: NDArray[Any]) -> str:
    """A name for all that determines a training's results to the bit: its header, its data and the processor.

    header: JSON, the order of its mappings included. 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([header, dict(torch.cpu.get_capabilities())]).encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The file of one unfinished training; what people should know of it is said through `say`."""

    def __init__(self, file: Path, say: Callable[[str], object]) -> None:
        self._file = file
        self._say = say
        self._next = 0.0

    def read(self) -> bytes | None:
        """What was saved last, for `parse`; None where there is nothing, or it is not sound."""
        if not self._file.is_file():
            return None
        content = self._file.read_bytes()
        if content[-DIGEST:] != self._digest(io.BytesIO(content[:-DIGEST])):
            self._say(f"{self._file} is damaged or of another training: this one starts from the beginning.")
            return None
        return content[:-DIGEST]

    def save(self, state: Callable[[], tuple[dict[str, Tensor], Any]], last: bool = False) -> None:
        """Keep tensors and values (JSON) instead of those before; seldom enough to cost next to nothing.

        last: the training ends with this state, which is kept in any case. If saving fails, training goes on without.
        """
        started = time.monotonic()
        if started < self._next and not last:
            return
        tensors, values = state()
        text = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
        temporary = self._file.with_suffix(".tmp")
        try:
            # Straight from the tensors' memory: by way of bytes it would take four times as long.
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()} | {"": text}, temporary)
            with temporary.open("r+b") as file:
                file.write(self._digest(file))
            temporary.replace(self._file)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            self._say(f"no new checkpoint ({self._file}: {error}); training goes on without.")
        self._next = time.monotonic() + PATIENCE * (time.monotonic() - started)

    def _digest(self, content: BinaryIO) -> bytes:
        """Of the content, read to its end, and of whose it is."""
        whose = self._file.parent.name.encode()
        return hashlib.file_digest(content, lambda: hashlib.sha256(whose)).digest()  # type: ignore[arg-type] # any hash


def parse(content: bytes) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the values of a checkpoint."""
    tensors = load(content)
    return tensors, json.loads(tensors.pop("").numpy().tobytes())


@contextmanager
def kept(name: str, result: Path, say: Callable[[str], object]) -> Iterator[Checkpoint]:
    """The checkpoint of the training of that `identity`, which writes `result`; locked while the body runs.

    Once the body completes it counts as finished. Raises FashionError where another process is running this training.
    """
    root = Path(os.environ.get("DVC_ROOT", ""), os.environ.get(VARIABLE) or ".checkpoints")
    folder = root / name
    state, finished = folder / "state", folder / "finished"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Its holder's death releases it.
        lock = filelock.FileLock(folder / "lock").acquire(timeout=GRACE)
    except filelock.Timeout:
        raise FashionError("another process trains the very same: wait for it, or end it.") from None
    with lock:
        # Left behind by a process that was killed while it wrote.
        for file in folder.glob("*.tmp"):
            file.unlink()
        # DVC deletes a stage's outputs before it runs it.
        if finished.is_file() and not result.exists() and not _recorded(finished):
            finished.replace(state)
        finished.unlink(missing_ok=True)
        _prune(root, folder)
        try:
            yield Checkpoint(state, say)
            if state.is_file():
                state.replace(finished)
        finally:
            if not (state.is_file() or finished.is_file()):
                shutil.rmtree(folder, ignore_errors=True)


def _recorded(finished: Path) -> bool:
    """Whether DVC has written its lock since a training finished."""
    return LOCK.is_file() and LOCK.stat().st_mtime_ns > finished.stat().st_mtime_ns


def _prune(root: Path, own: Path) -> None:
    """Remove trainings with nothing to resume, and the oldest ones beyond those kept, unless locked."""
    # Others may remove theirs at this moment; whatever happens, this training goes on.
    with suppress(OSError):
        folders = [folder for folder in root.iterdir() if re.fullmatch("[0-9a-f]{64}", folder.name) and folder != own]
        # The latest first.
        folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        left = KEPT - 1
        for folder in folders:
            finished = folder / "finished"
            useful = (folder / "state").is_file() or (finished.is_file() and not _recorded(finished))
            if useful and left:
                left -= 1
                continue
            with suppress(filelock.Timeout), filelock.FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
