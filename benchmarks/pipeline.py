"""The times that a new user waits: set-up, the pipeline, the tests; and dvc repro with nothing to do."""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from benchmarks.processes import machine
from fashion.files import write_json
from fashion.repository.commands import environment

# The smallest project that DVC can find up to date.
LEAST = "stages:\n  only:\n    cmd: echo done > out.txt\n    outs:\n      - out.txt:\n          cache: false\n"


def pipeline(rounds: int, output: Path) -> None:
    """Measure, write the figures and print them."""
    with TemporaryDirectory() as folder:
        clone, least = Path(folder, "clone"), Path(folder, "least")
        _run(Path(), "git", "clone", "--quiet", ".", str(clone))
        figures: dict[str, Any] = {"machine": machine(), "seconds": {}}
        for command in ("make setup", "make repro", "make test"):
            figures["seconds"][command] = [_run(clone, *command.split())]
        least.mkdir()
        (least / "dvc.yaml").write_text(LEAST)
        _run(least, "git", "init", "--quiet")
        _run(least, "dvc", "init", "--quiet")
        # It turns off usage statistics and the check for updates.
        shutil.copy(".dvc/config", least / ".dvc")
        _run(least, "dvc", "repro")
        for _ in range(rounds):
            for name, where in (("dvc repro, nothing to do", clone), ("the same with one stage", least)):
                figures["seconds"].setdefault(name, []).append(_run(where, "dvc", "repro"))
    write_json(output, figures)
    typer.echo(table(figures))


def table(figures: dict[str, Any]) -> str:
    """Markdown: seconds, median (least to most), in one line."""
    parts = []
    for name, values in figures["seconds"].items():
        spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        parts.append(f"{name}: {statistics.median(values):.2f} s{spread}")
    return f"{'; '.join(parts)}. {figures['machine']}."


def _run(where: Path, *command: str) -> float:
    """The seconds that a command takes; its output is shown if it fails."""
    variables = environment() | {"FASHION_CHECKPOINTS": "", "FASHION_MNIST_MIRROR": ""}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=where, env=variables, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed in a clone:\n{done.stdout}{done.stderr}")
    return seconds
