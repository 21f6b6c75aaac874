"""Run `python -m stages` with the code of any folder, several commands at once, in forks that start in no time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from tqdm import tqdm

from fashion.environment import MEMORY
from fashion.errors import FashionError, printable
from fashion.threads import cores

# A worker takes up to a gigabyte.
MOST_WORKERS = 8


class CommandError(FashionError):
    """A command that failed."""


class Run(Protocol):
    """What runs a command."""

    def __call__(self, code: str, place: Path, *words: str) -> None:
        """Run it in a folder, with the code there; code: where that is from. CommandError if it fails."""


@contextmanager
def workers(folder: Path) -> Iterator[tuple[Run, ThreadPoolExecutor]]:
    """A function that runs a command, and a pool of as many threads as there are commands at the same time.

    folder: for the commands' output. When the body ends, all commands end.
    """
    count = min(cores(), MOST_WORKERS)
    started = [_worker(folder) for _ in range(count)]
    pool, idle = ThreadPoolExecutor(count), SimpleQueue["subprocess.Popen[str]"]()
    for worker in started:
        idle.put(worker)
    bar = tqdm(unit="command", disable=None, leave=False)

    def run(code: str, place: Path, *words: str) -> None:
        worker = idle.get()
        try:
            reason = _failure(worker, folder / f"{worker.pid}.txt", place, words)
        finally:
            idle.put(worker)
            bar.update()
        if reason:
            raise CommandError(f"python -m stages {' '.join(words)} fails {code} ({reason})")

    try:
        with bar:
            yield run, pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in started:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate()
        pool.shutdown()


def _worker(folder: Path) -> "subprocess.Popen[str]":
    """A process that runs commands one after the other, with its forks in a process group of their own."""
    # Checkpoints stay in the sides' folders: otherwise one side would resume the training of the other.
    unset = {"DVC_ROOT", "DVC_STAGE", "FASHION_CHECKPOINTS", "PYTHONSAFEPATH"}
    return subprocess.Popen(  # noqa: S603 - no shell
        [sys.executable, "-P", str(Path(__file__).with_name("forks.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in unset} | MEMORY,
        cwd=folder,
        start_new_session=True,
    )


def _failure(worker: "subprocess.Popen[str]", printed: Path, place: Path, words: Sequence[str]) -> str:
    """Let a worker run a command, which prints to a file; why it failed, empty if it did not."""
    code = ""
    if worker.stdin and worker.stdout:
        print(json.dumps([str(place), str(printed), words]), file=worker.stdin, flush=True)
        code = worker.stdout.readline().strip()
    lines = printed.read_text(errors="replace").strip().splitlines() if printed.is_file() else []
    last = lines[-1] if lines else "it was killed"
    return "" if code == "0" else printable(last).removeprefix("error: ").rstrip(".")
