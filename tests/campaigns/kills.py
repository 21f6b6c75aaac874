"""Kill trainings and compare their results: python -m tests.campaigns.kills [TIMES].

At random moments and during saves; the results must be those of a training that was never disturbed.
"""

import math
import random
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import Workspace, project

KEY = "lenet5-0"
COMMAND = [sys.executable, "-m", "stages", "train", KEY]


def kill_and_compare(folder: Path, times: int, seed: int) -> tuple[int, int]:
    """Kill trainings at least `times` times; return how many resumed, and how many of their files are different."""
    print(f"seed {seed}", flush=True)  # noqa: T201 - to repeat it
    moments = random.Random(seed)  # noqa: S311 - no secret
    workspace = project(folder)
    workspace.small(epochs=40)
    workspace.run("dvc", "repro", "download", "split")
    started = time.monotonic()
    workspace.run(*COMMAND)
    duration = time.monotonic() - started
    expected = results(workspace)
    kills, wrong, resumed = 0, 0, 0
    while kills < times:
        clean(workspace)
        ended = False
        while not ended:
            output, ended = attempt(workspace, _moment(moments, duration, times - kills))
            kills += not ended
            resumed += "resumes after epoch" in output
        found = results(workspace)
        wrong += sum(found.get(name) != content for name, content in expected.items()) + len(found.keys() - expected)
        print(f"{kills} kills, {resumed} trainings resumed, {wrong} files differ", flush=True)  # noqa: T201 - progress
    return resumed, wrong


def _moment(moments: random.Random, duration: float, left: int) -> float | None:
    """When to kill: alternately after random seconds and during a save (None); never if no kill is left."""
    if not left:
        return math.inf
    return moments.uniform(0, duration) if left % 2 else None


def attempt(workspace: Workspace, moment: float | None) -> tuple[str, bool]:
    """Run a training and kill it at that moment; return its output and whether it had finished before."""
    process = workspace.start(*COMMAND)
    end = time.monotonic() + (math.inf if moment is None else moment)
    folder = workspace.folder / ".checkpoints"
    while process.poll() is None and time.monotonic() < end:
        # Not during the first save: there must be a checkpoint to resume from.
        if moment is None and any(folder.glob("*/*.tmp")) and any(folder.glob("*/state")):
            break
        time.sleep(0.0002)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode in (0, -9), output
    return output, process.returncode == 0


def results(workspace: Workspace) -> dict[str, bytes]:
    """The content of every file that a training writes."""
    files = [workspace.folder / f"models/{KEY}.safetensors", *workspace.folder.glob(f"metrics/train/{KEY}/**/*.*")]
    return {str(file.relative_to(workspace.folder)): file.read_bytes() for file in files if file.is_file()}


def clean(workspace: Workspace) -> None:
    """Remove those files, as DVC does before it runs a stage, and all checkpoints."""
    (workspace.folder / f"models/{KEY}.safetensors").unlink(missing_ok=True)
    shutil.rmtree(workspace.folder / f"metrics/train/{KEY}", ignore_errors=True)
    shutil.rmtree(workspace.folder / ".checkpoints", ignore_errors=True)


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
        sys.exit(kill_and_compare(Path(temporary, "project"), count, seed=time.time_ns())[1])
