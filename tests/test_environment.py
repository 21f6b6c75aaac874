"""The environment of a training process: memory is kept, and the kernels are those of params.yaml."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fashion.environment import MEMORY, PORTABLE, Kernels, Precision, native, variables
from fashion.errors import FashionError
from fashion.repository.commands import environment, output
from fashion.repository.locks import losses
from tests.conftest import ROOT, Workspace

GLIBC = platform.libc_ver()[0] == "glibc"
CODE = """
import json, os, sys
from fashion.cli import lifetime
from fashion.environment import prepare
prepare(*sys.argv[1:3])
names = ("ATEN_", "DVCLIVE_", "MALLOC_", "ONEDNN_", "MKL_")
print(json.dumps([sys.argv[1:], {name: value for name, value in os.environ.items() if name.startswith(names)}]))
"""


def prepared(kernels: str, precision: str = "fp32", **own: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment variables of a process after `prepare`."""
    names = ("ATEN_", "DVCLIVE_", "MALLOC_", "ONEDNN_", "MKL_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, kernels, precision, "a b"],
        env=clean | own,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    arguments, settings = json.loads(done.stdout)
    return arguments, settings


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernels", ["portable", "fastest"])
def test_memory_and_kernels_are_set(kernels: Kernels, precision: Precision) -> None:
    """On glibc the process restarts with the same arguments and memory kept; kernels are set on every system."""
    expected = (MEMORY if GLIBC else {}) | variables(kernels, precision)
    assert prepared(kernels, precision) == ([kernels, precision, "a b"], expected)


@pytest.mark.parametrize(
    ("flags", "precisions"),
    [
        (set(), []),
        ({"avx2"}, []),
        ({"avx2", "fma"}, ["fp32"]),
        ({"avx2", "fma", "avx512_bf16"}, ["fp32", "bf16"]),
    ],
)
def test_kernels_are_limited_where_they_are_native(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], precisions: list[str]
) -> None:
    """Portable kernels are those of a precision where the processor has all that it needs; else nothing is limited."""
    monkeypatch.setattr("fashion.environment._flags", lambda: flags)
    for precision, instructions in PORTABLE.items():
        limits = instructions.variables if precision in precisions else {}
        assert variables("portable", precision) == limits
        assert variables("fastest", precision) == {}


def test_memory_settings_of_the_user_are_kept() -> None:
    """If one of glibc's settings is already set, all stay as they are."""
    own = {"MALLOC_TOP_PAD_": "1"}
    assert prepared("fastest", **own) == (["fastest", "fp32", "a b"], own)


def test_switches_of_dvclive_are_dropped() -> None:
    """What a training writes does not depend on dvclive's variables in the user's environment."""
    own = {"MALLOC_TOP_PAD_": "1"}
    assert prepared("fastest", **own, DVCLIVE_TEST="1", DVCLIVE_RESUME="1")[1] == own


@pytest.mark.skipif(not native("fp32"), reason="needs a processor with AVX2")
def test_kernels_of_the_user_are_replaced() -> None:
    """`portable` sets the portable kernels, whatever the caller's environment contains."""
    _, found = prepared("portable", ONEDNN_MAX_CPU_ISA="DEFAULT")
    assert found["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_dvc_finds_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts dvc gives it a PATH on which `python` is this one, even if PATH is not set."""
    for path in ("/usr/bin", None):
        monkeypatch.setenv("PATH", path) if path else monkeypatch.delenv("PATH")
        found = shutil.which("python", path=environment()["PATH"])
        assert found
        assert Path(found).parent == Path(sys.executable).parent


def test_a_lock_of_any_bytes_is_compared(checkout: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is not text is one whose entries are all lost; the first stage of each DVC reports it."""
    workspace = checkout.clone(tmp_path / "project")
    monkeypatch.chdir(workspace.folder)
    Path(".dvc/tmp").mkdir()
    assert list(losses("1")) == []
    Path("dvc.lock").write_bytes(b"\xff\n")
    assert list(losses("1")) == []
    (warning,) = losses("2")
    assert re.match(r"warning: dvc\.lock lacks 5 of the entries in the last commit.* git restore dvc\.lock$", warning)


def test_any_encoding_can_be_written() -> None:
    """In an encoding without accents, such as ASCII, a table with a name that has one is printed all the same."""
    variables = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "tools", "models"]
    done = subprocess.run(command, cwd=ROOT, env=variables, check=True, capture_output=True, text=True)
    assert "\\x" in done.stdout


def test_a_pipe_gets_plain_lines() -> None:
    """With FORCE_COLOR, which CI services set, a table in a pipe has neither escape codes nor wrapped lines."""
    command = [sys.executable, "-m", "tools", "models"]
    tables = [
        subprocess.run(command, cwd=ROOT, env=os.environ | more, check=True, capture_output=True, text=True).stdout
        for more in ({}, {"FORCE_COLOR": "1", "COLUMNS": "80"})
    ]
    assert tables[0] == tables[1]


def test_closed_streams_become_the_null_device() -> None:
    """With closed streams, what is printed is dropped, and a file that is opened gets none of their numbers."""
    code = (
        "import os, sys\n"
        "from fashion.cli.advice import explained\n"
        "with explained():\n"
        "    print('seen by nobody', file=sys.stderr, flush=True)\n"
        "    sys.exit(int(os.open(os.devnull, os.O_RDONLY) < 3))\n"
    )
    command = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_an_interruption_before_the_command_is_one_sentence(sent: signal.Signals) -> None:
    """A signal that comes before the command line is read ends the process with one sentence and an exit code."""
    code = (
        "import os, signal\n"
        "from fashion.cli.advice import explained\n"
        "from fashion.cli.lifetime import end_when_asked\n"
        # Background jobs of a shell ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with explained():\n"
        "    end_when_asked()\n"
        f"    os.kill(os.getpid(), {sent.value})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: interrupted before the command began: run it again.\n"


def test_a_missing_program_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """If git is not installed, the message says so."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FashionError, match="git is not installed, or not on PATH: install it"):
        output("git", "--version")
