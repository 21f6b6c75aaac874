"""The process that trains keeps its memory."""

import json
import os
import platform
import subprocess
import sys

import pytest

from fashion.running.memory import SETTINGS
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings apply to glibc alone")
CODE = """
import json, os, sys
from fashion.running.memory import keep_memory
keep_memory()
print(json.dumps([sys.argv[1:], {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}]))
"""


def restarted(**variables: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and the settings that a process has after it asked to keep memory."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "train", "a b"],
        env=clean | variables,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    arguments, settings = json.loads(done.stdout)
    return arguments, settings


def test_memory_is_kept() -> None:
    """The process starts over once, with the settings and the same arguments."""
    assert restarted() == (["train", "a b"], SETTINGS)


def test_settings_of_ones_own_stay() -> None:
    """Who has set one of them has set them all."""
    own = {"MALLOC_TOP_PAD_": "1"}
    assert restarted(**own) == (["train", "a b"], own)
