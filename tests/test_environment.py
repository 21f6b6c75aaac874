"""The environment of a training process: memory is kept, and the kernels are those of params.yaml."""

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
    """The arguments and the environment variables of a process after `prepare`."""
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
    """On glibc the process restarts with the same arguments and memory kept; kernels are set on every system."""
    settings = (MEMORY if GLIBC else {}) | VARIABLES[kernels]  # type: ignore[index] # both are kernels
    assert prepared(kernels) == ([kernels, "a b"], settings)


def test_memory_settings_of_the_user_are_kept() -> None:
    """If one of glibc's settings is already set, all stay as they are."""
    own = {"MALLOC_TOP_PAD_": "1"}
    assert prepared("fastest", **own) == (["fastest", "a b"], own)


def test_kernels_of_the_user_are_replaced() -> None:
    """`portable` sets the portable kernels, whatever the caller's environment contains."""
    _, settings = prepared("portable", ONEDNN_MAX_CPU_ISA="DEFAULT")
    assert settings["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"
