"""Run other programs: git and dvc."""

import subprocess
import sys

from fashion.errors import FashionError

DVC = (sys.executable, "-m", "dvc")


def output(*command: str) -> str:
    """A program's standard output; FashionError with its error message if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")  # noqa: S603 - no shell
    if done.returncode:
        raise FashionError(f"{' '.join(command)} fails: {done.stderr.strip()}")
    return done.stdout
