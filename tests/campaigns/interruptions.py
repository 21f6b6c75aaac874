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

import psutil

from tests.campaigns.files import COMMANDS, Files, prepared, snapshot
from tests.conftest import Workspace

EXPERIMENT = ["exp", "run", "--set-param", "seed=2"]
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
    return {
        name: content for name, content in snapshot(workspace.folder).items() if not name.startswith(".checkpoints/")
    }


def interrupt(workspace: Workspace, command: list[str], moment: float, sent: signal.Signals, group: bool) -> str:
    """Start a command and interrupt it at that moment; say what is wrong then, or nothing."""
    log = workspace.folder.parent / "log"
    queued = "--queue" in command
    with log.open("wb") as file:
        if queued:
            workspace.run(*arguments(command))
        process = subprocess.Popen(
            arguments(["queue", "start"]) if queued else arguments(command),
            cwd=workspace.folder,
            env=workspace.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moment)
        # The worker of a queue has left the command's group.
        if queued:
            for worker in processes(workspace.folder):
                worker.send_signal(sent)
        elif process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, sent)
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"still runs after {END} s"
    end = time.monotonic() + LEFT
    while (left := processes(workspace.folder)) and time.monotonic() < end:
        time.sleep(0.1)
    if left and not queued:
        names = [" ".join(one.cmdline())[-80:] for one in left]
        for one in left:
            one.kill()
        return f"left running: {names}"
    output = log.read_text(errors="replace")
    # Python itself prints a traceback as long as it imports the program.
    if sent != signal.SIGKILL and "Traceback" in output and "import" not in output.split("Traceback")[-1]:
        return f"traceback: {output[-400:]}"
    return ""


def half_written(before: Files, now: Files, after: Files, killed: bool) -> list[str]:
    """The files that are neither as before nor as they are at the end; a kill may leave temporary ones."""
    known = {name for name, content in now.items() if content in (before.get(name), after.get(name))}
    return sorted(n for n in now.keys() - known if not GROWING.match(n) and not (killed and n.endswith(".tmp")))


def recovered(workspace: Workspace, command: list[str], after: Files) -> str:
    """Run the command again, and say what is wrong then, or nothing."""
    try:
        if command[:2] == EXPERIMENT[:2] and workspace.run("git", "rev-parse", "--abbrev-ref", "HEAD") == "HEAD\n":
            # As docs/trouble.md says.
            workspace.run("git", "switch", "--discard-changes", "main")
            workspace.run("dvc", "repro")
        if "--queue" in command:
            workspace.run("dvc", "queue", "kill", "queued") if "Running" in workspace.run(
                "dvc", "queue", "status"
            ) else ""
            workspace.run("dvc", "queue", "remove", "--all")
            workspace.run("dvc", "exp", "remove", "queued") if "queued" in workspace.run("dvc", "exp", "list") else ""
        if "--temp" in command and "temporary" in workspace.run("dvc", "exp", "list"):
            workspace.run("dvc", "exp", "remove", "temporary")
        finish(workspace, command)
    except AssertionError as error:
        return f"does not run again: {str(error)[-600:]}"
    found = files(workspace)
    differ = [name for name in found.keys() | after.keys() if found.get(name) != after.get(name)]
    return f"differ at the end: {sorted(differ)}" if differ else ""


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
            rng = random.Random(f"{seed} {command} {number}")  # noqa: S311 - no secret
            moment, sent, group = rng.uniform(0, duration), rng.choice(SIGNALS), rng.random() < 0.5
            workspace = base.copy(folder / "project")
            wrong = interrupt(workspace, command, moment, sent, group)
            if half := half_written(before, files(workspace), after, sent == signal.SIGKILL):
                wrong += f" half-written: {half}"
            wrong += recovered(workspace, command, after)
            shutil.rmtree(workspace.folder)
            own["finding" if wrong else "recovered"] += 1
            if wrong:
                how = f"{sent.name} after {moment:.2f} of {duration:.2f} s{' to the group' if group else ''}"
                print(f"seed {seed}, {' '.join(command)}, {number}: {how}: {wrong}", flush=True)  # noqa: T201 - to repeat it
        print(f"{' '.join(command)}: {dict(own)}", flush=True)  # noqa: T201 - progress
        ends += own
    return ends


if __name__ == "__main__":
    words = [*map(int, sys.argv[1:3]), *(10, 0)[len(sys.argv[1:3]) :]]
    with TemporaryDirectory() as temporary:
        counts = campaign(Path(temporary), *words)
    print(dict(counts))  # noqa: T201 - the result
    sys.exit(bool(counts["finding"]))
