"""Run other programs: git and dvc."""

import os
import subprocess
import sys
from pathlib import Path

from fashion.errors import FashionError

DVC = (sys.executable, "-m", "dvc")


def environment() -> dict[str, str]:
    """The environment for dvc, whose stages start `python`: it must be this one, also if it is not activated."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def output(*command: str) -> str:
    """A program's standard output; FashionError if it is not installed, or with its error message if it fails.

    Bytes that are not UTF-8 become U+FFFD.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            command, check=False, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise FashionError(f"{command[0]} is not installed, or not on PATH: install it.") from None
    if done.returncode:
        raise FashionError(f"{' '.join(command)} fails: {done.stderr.strip()}")
    return done.stdout
