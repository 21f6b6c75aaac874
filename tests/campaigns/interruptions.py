"""Interrupt every stage, every tool and DVC at random moments: python -m tests.campaigns.interruptions [COUNT] [SEED].

A command gets SIGINT, SIGTERM or SIGKILL, alone or with its whole process group. Then no file may be half-written, no
process may be left, and the same command must give the same bytes as one that was never interrupted. COUNT: the times
that each command is interrupted.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from fashion.repository.locks import LOCKS
from tests.campaigns.files import COMMANDS, Files, prepared, snapshot
from tests.conftest import Workspace

EXPERIMENT = ["exp", "run", "--set-param", "model=cnn", "--set-param", "models.cnn.train.epochs=3"]
DVC = [
    ["repro", "--force"],
    ["repro", "--force", "models/dvc.yaml"],
    EXPERIMENT,
    [*EXPERIMENT, "--temp", "--name", "temporary"],
    [*EXPERIMENT, "--queue", "--name", "queued"],
]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
# Seconds until an interrupted command has ended, and until processes that it started have.
END, LEFT = 20, 5
# Files that grow line by line, or change after each stage.
GROWING = re.compile(r"metrics/train/|dvc\.lock|models/dvc\.lock")


def arguments(command: list[str]) -> list[str]:
    """A command as the operating system starts it."""
    return [sys.executable, "-m", *(command if command in COMMANDS else ["dvc", *command])]


def processes(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def finish(workspace: Workspace, command: list[str]) -> str:
    """Run a command to its end, and bring an experiment's result into the workspace; return the output."""
    output = workspace.run(*arguments(command))
    if "--queue" in command:
        output += workspace.run("dvc", "queue", "start") + workspace.finish_queue()
        workspace.run("dvc", "exp", "apply", "queued")
    elif "--temp" in command:
        workspace.run("dvc", "exp", "apply", "temporary")
    return output


def files(workspace: Workspace) -> Files:
    """What is compared: all files but checkpoints."""
    found = snapshot(workspace.folder)
    return {name: content for name, content in found.items() if not name.startswith(".checkpoints/")}


class Interruption(NamedTuple):
    """How a command is interrupted: after these seconds, or while DVC writes a lock if they are None."""

    moment: float | None
    sent: signal.Signals
    group: bool

    @classmethod
    def drawn(cls, rng: random.Random, command: list[str], duration: float) -> "Interruption":
        """A random one; in half of the runs of `dvc repro` a kill while a lock is written."""
        if command[0] == "repro" and rng.random() < 0.5:
            return cls(None, signal.SIGKILL, group=False)
        moment, sent = rng.uniform(0, duration), rng.choice(SIGNALS)
        # While a stage runs, DVC leaves Ctrl-C to it: a terminal sends that to both.
        both = command in DVC and sent == signal.SIGINT
        # DVC outlives a killed program that started it.
        both |= "ablation" in command and sent == signal.SIGKILL
        return cls(moment, sent, group=both or rng.random() < 0.5)


def interrupt(workspace: Workspace, command: list[str], how: Interruption) -> str:
    """Start a command and interrupt it; say what is wrong then, or nothing."""
    log = workspace.folder.parent / "log"
    queued = "--queue" in command
    if queued:
        workspace.run(*arguments(command))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "queue", "start"] if queued else arguments(command),
            cwd=workspace.folder,
            env=workspace.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    wait(process, how.moment, workspace.folder)
    if queued:
        # The worker of a queue has left the command's group.
        for worker in processes(workspace.folder):
            worker.send_signal(how.sent)
    elif process.poll() is None:
        (os.killpg if how.group else os.kill)(process.pid, how.sent)
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"still runs after {END} s"
    end = time.monotonic() + LEFT
    while (left := processes(workspace.folder)) and time.monotonic() < end:
        time.sleep(0.1)
    for one in left:
        one.kill()
    # A worker that is asked to end completes its experiment.
    if left and not queued:
        return f"left running: {left}"
    output = log.read_text(errors="replace")
    if how.sent != signal.SIGKILL and "Traceback" in output and not importing(output):
        return f"traceback: {output[-400:]}"
    return ""


def importing(output: str) -> bool:
    """Whether the last traceback is from the program's first imports: Python itself prints those."""
    last = output.rsplit("Traceback", maxsplit=1)[-1]
    began = re.search(r'/__main__\.py", line \d+, in <module>\n *(.*)', last)
    return began[1].startswith(("from ", "import ")) if began else not re.search("/(fashion|stages|tools)/", last)


def wait(process: "subprocess.Popen[bytes]", moment: float | None, folder: Path) -> None:
    """Wait that long, or until a lock is shorter than before: DVC empties it before it writes."""
    if moment is not None:
        time.sleep(moment)
        return
    sizes = {folder / lock: 0 for lock in LOCKS}
    while process.poll() is None:
        for lock, before in sizes.items():
            sizes[lock] = lock.stat().st_size
            if sizes[lock] < before:
                return


def half_written(before: Files, now: Files, after: Files, killed: bool) -> list[str]:
    """The files that are neither as before nor as they are at the end; a kill may leave temporary ones."""
    known = {name for name, content in now.items() if content in (before.get(name), after.get(name))}
    return sorted(n for n in now.keys() - known if not GROWING.match(n) and not (killed and n.endswith(".tmp")))


def recovered(workspace: Workspace, command: list[str], after: Files) -> tuple[str, bool]:
    """Run the command again; return what is wrong then, or nothing, and whether the locks had to be restored."""
    cured = False
    try:
        clear(workspace, command)
        try:
            cured = "dvc.lock lacks" in finish(workspace, command)
        except AssertionError as error:
            cured = "dvc.lock" in str(error)
            if not cured:
                raise
        if cured:
            # As docs/trouble.md says.
            workspace.run("git", "restore", *LOCKS)
            finish(workspace, command)
    except AssertionError as error:
        return f"does not run again: {str(error)[-600:]}", cured
    found = files(workspace)
    differ = [name for name in found.keys() | after.keys() if found.get(name) != after.get(name)]
    return f"differ at the end: {sorted(differ)}" if differ else "", cured


def clear(workspace: Workspace, command: list[str]) -> None:
    """Remove what an interrupted experiment leaves in git and in the queue."""
    if command[0] != "exp":
        return
    if workspace.run("git", "rev-parse", "--abbrev-ref", "HEAD") == "HEAD\n":
        # As docs/trouble.md says.
        workspace.run("git", "switch", "--discard-changes", "main")
        workspace.run("dvc", "checkout", "--force", "--allow-missing")
        workspace.run("dvc", "repro")
    workspace.run("dvc", "queue", "remove", "--all")
    for name in ("queued", "temporary"):
        if name in workspace.run("dvc", "exp", "list"):
            workspace.run("dvc", "exp", "remove", name)


def campaign(folder: Path, count: int, seed: int) -> Counter[str]:
    """Interrupt each command that many times."""
    base, ends = prepared(folder / "base"), Counter[str]()
    before = files(base)
    for command in [*COMMANDS, *DVC]:
        workspace = base.copy(folder / "project")
        started = time.monotonic()
        finish(workspace, command)
        duration, after = time.monotonic() - started, files(workspace)
        shutil.rmtree(workspace.folder)
        own = Counter[str]()
        for number in range(count):
            how = Interruption.drawn(random.Random(f"{seed} {command} {number}"), command, duration)  # noqa: S311 - no secret
            workspace = base.copy(folder / "project")
            wrong = interrupt(workspace, command, how)
            if half := half_written(before, files(workspace), after, how.sent == signal.SIGKILL):
                wrong += f" half-written: {half}"
            again, cured = recovered(workspace, command, after)
            shutil.rmtree(workspace.folder)
            own["finding" if wrong or again else "locks restored" if cured else "recovered"] += 1
            if wrong or again:
                print(f"seed {seed}, {' '.join(command)}, {number}: {how}: {wrong}{again}", flush=True)  # noqa: T201 - to repeat it
        print(f"{' '.join(command)}, {duration:.1f} s: {dict(own)}", flush=True)  # noqa: T201 - progress
        ends += own
    return ends


if __name__ == "__main__":
    words = [*map(int, sys.argv[1:3]), *(10, 0)[len(sys.argv[1:3]) :]]
    with TemporaryDirectory() as temporary:
        counts = campaign(Path(temporary), *words)
    print(dict(counts))  # noqa: T201 - the result
    sys.exit(bool(counts["finding"]))
