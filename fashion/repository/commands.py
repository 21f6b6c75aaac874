"""Run other programs: git and dvc."""

import os
import subprocess
import sys
from contextlib import suppress
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
        raise FashionError(f"{' '.join(command)} fails: {' '.join(done.stderr.split()) or f'code {done.returncode}'}")
    return done.stdout


def attempt(*command: str) -> str | None:
    """A program's output; None if it fails."""
    with suppress(FashionError):
        return output(*command)
    return None


def check_clone() -> None:
    """Raise FashionError, with git's own cause, unless git is installed and can read this folder's repository."""
    try:
        output("git", "rev-parse", "--git-dir")
    except FashionError as error:
        raise FashionError(f"there is no clone of the project here that git can read: {error}") from None


def resolved(name: str) -> str:
    """The short hash of a commit; FashionError if git has none of that name."""
    found = attempt("git", "rev-parse", "--verify", "--short", "--end-of-options", f"{name}^{{commit}}")
    if not found:
        raise FashionError(f"git has no commit {name!r}: git log --oneline lists them, git fetch brings more.")
    return found.strip()
