"""Run every stage and every tool where something is missing, full or closed: python -m tests.campaigns.circumstances.

Each run gives the files of an ordinary one, or reports in one sentence why it cannot. A read-only folder and a full
disk are mounted, which only root may.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import NamedTuple

from tests.campaigns.files import COMMANDS, LIMIT, Files, judged, prepared, snapshot
from tests.conftest import Workspace

# Changes of the environment; None removes a variable.
VARIABLES: dict[str, dict[str, str | None]] = {
    "no home": {"HOME": None},
    "a home that is not there": {"HOME": "/nowhere"},
    "a temporary folder that is not there": {"TMPDIR": "/nowhere"},
    "twenty columns": {"COLUMNS": "20", "LINES": "3"},
    "ASCII": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "no PATH": {"PATH": None},
    "no user": {"USER": None, "LOGNAME": None, "TERM": None},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "optimised code": {"PYTHONOPTIMIZE": "2"},
    "dvclive's switches": {"DVCLIVE_TEST": "1", "DVCLIVE_RESUME": "1", "DVCLIVE_LOGLEVEL": "nosuch"},
    "a CI service": {"CI": "true", "FORCE_COLOR": "1"},
    "a launcher of many processes": {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": ""},
    "nowhere for DVC's database": {"DVC_SITE_CACHE_DIR": "/dev/null/nowhere"},
}
# What a shell does with the standard streams.
STREAMS = {
    "closed input": "<&-",
    "closed output": ">&-",
    "closed errors": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "full output": ">/dev/full",
}


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, for root too."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Put a folder on a disk that has no room left."""
    files = folder.with_name("files")
    folder.rename(files)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    shutil.copytree(files, folder, dirs_exist_ok=True, symlinks=True)
    with suppress(OSError), (folder / ".git/filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(2**12))
    try:
        yield
    finally:
        (folder / ".git/filler").unlink()
        shutil.rmtree(files)
        shutil.copytree(folder, files, symlinks=True)
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
        files.rename(folder)


class Case(NamedTuple):
    """A circumstance: changes of the environment, what a shell does with the streams, and where the folder is."""

    name: str
    changes: Mapping[str, str | None] = MappingProxyType({})
    streams: str = ""
    place: Callable[[Path], AbstractContextManager[object]] = nullcontext


CASES = [
    *(Case(name, changes=changes) for name, changes in VARIABLES.items()),
    *(Case(name, streams=streams) for name, streams in STREAMS.items()),
    *([Case("a read-only folder", place=read_only), Case("a full disk", place=full)] if os.geteuid() == 0 else []),
]


def run(workspace: Workspace, command: list[str], case: Case) -> str:
    """Run a command; say how it ended."""
    environment = workspace.environment | dict(case.changes)
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {case.streams}', "sh", sys.executable, "-m", *command],
            cwd=workspace.folder,
            env={name: value for name, value in environment.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "hang"
    # Where nothing can be printed, the exit code alone says that it failed.
    if case.streams and done.returncode and not done.stdout:
        return "reported"
    return judged(done.returncode, done.stdout.decode(errors="replace"))


def campaign(folder: Path) -> Counter[str]:
    """Run each command in each of the circumstances."""
    base, ends = prepared(folder / "base"), Counter[str]()
    before = snapshot(base.folder)
    for command in COMMANDS:
        expected: Files = {}
        for case in (Case("nothing unusual"), *CASES):
            workspace = base.copy(folder / "project")
            with case.place(workspace.folder):
                end = run(workspace, command, case)
            found = snapshot(workspace.folder)
            shutil.rmtree(workspace.folder)
            expected = expected or found
            allowed = (expected,) if end == "accepted" else (expected, before)
            if wrong := differences(found, *allowed):
                end += f", with other files: {wrong}"
            ends[end if end in ("accepted", "reported") else "finding"] += 1
            if end not in ("accepted", "reported"):
                print(f"{' '.join(command)}, {case.name}: {end}", flush=True)  # noqa: T201 - to repeat it
        print(f"{' '.join(command)}: {dict(ends)} so far", flush=True)  # noqa: T201 - progress
    return ends


def differences(found: Files, *allowed: Files) -> list[str]:
    """The files, apart from checkpoints, that are not as in one of the others."""
    names = {name for files in (found, *allowed) for name in files if not name.startswith(".checkpoints/")}
    return sorted(name for name in names if all(found.get(name) != files.get(name) for files in allowed))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        counts = campaign(Path(temporary))
    print(dict(counts))  # noqa: T201 - the result
    sys.exit(bool(counts["finding"]))
