"""The environment of a process that trains: memory is kept, and kernels are those of params.yaml."""

import json
import os
import platform
import subprocess
import sys

import pytest

from fashion.running.environment import MEMORY
from fashion.settings.kernels import VARIABLES
from tests.conftest import ROOT

GLIBC = platform.libc_ver()[0] == "glibc"
CODE = """
import json, os, sys
from fashion.running.environment import prepare
prepare(sys.argv[1])
names = ("MALLOC_", "ONEDNN_", "MKL_")
print(json.dumps([sys.argv[1:], {name: value for name, value in os.environ.items() if name.startswith(names)}]))
"""


def prepared(kernels: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and the settings of a process after it prepared itself."""
    ours = MEMORY.keys() | VARIABLES["portable"].keys()
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", CODE, kernels, "a b"],
        env=clean | variables,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    arguments, settings = json.loads(done.stdout)
    return arguments, settings


@pytest.mark.parametrize("kernels", ["portable", "fastest"])
def test_memory_and_kernels_are_set(kernels: str) -> None:
    """On glibc the process starts over once, with the same arguments; kernels are set everywhere."""
    settings = (MEMORY if GLIBC else {}) | VARIABLES[kernels]  # type: ignore[index] # both are kernels
    assert prepared(kernels) == ([kernels, "a b"], settings)


def test_memory_settings_of_ones_own_stay() -> None:
    """If one of glibc's settings is there, all stay as they are."""
    own = {"MALLOC_TOP_PAD_": "1"}
    assert prepared("fastest", **own) == (["fastest", "a b"], own)


def test_kernels_of_ones_own_are_replaced() -> None:
    """Portable kernels are portable whatever the caller's environment says."""
    _, settings = prepared("portable", ONEDNN_MAX_CPU_ISA="DEFAULT")
    assert settings["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"
