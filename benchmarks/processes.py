"""Measurements in processes of their own, and the machine that they run on."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fashion.environment import MEMORY, PORTABLE, variables
from fashion.errors import FashionError
from fashion.files import read_json
from fashion.networks.hardware import choose
from fashion.settings.params import Params
from fashion.threads import cores


def ours(key: str) -> dict[str, str]:
    """The environment variables that the project's own commands set for themselves to train an architecture."""
    params = Params.load()
    return MEMORY | variables(params.gpu.kernels, params.architecture(key).train.precision)


def alone(module: str, *words: str, environment: Mapping[str, str], python: str = sys.executable) -> Any:
    """The last line that a module prints, as JSON; it runs in a new process.

    environment: variables to set; the caller's settings of memory and kernels have no effect. Raises FashionError, with
    the last line of the error message, if it fails.
    """
    settings = MEMORY.keys() | PORTABLE["fp32"].variables.keys()
    clean = {name: value for name, value in os.environ.items() if name not in settings}
    command = [python, "-m", module, *words]
    done = subprocess.run(command, env=clean | dict(environment), check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if done.returncode:
        message = (done.stderr.strip() or "without a message").splitlines()[-1]
        raise FashionError(f"python -m {module} {' '.join(words)} failed: {message}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy while the body runs."""
    # It also ends if this process is killed; otherwise it would slow down every later measurement.
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    with subprocess.Popen([sys.executable, "-c", loop]) as process:  # noqa: S603 - ours
        try:
            yield
        finally:
            process.kill()


def need(path: Path, target: str) -> None:
    """Raise FashionError, with the command that makes it, if a path is missing."""
    if not path.exists():
        raise FashionError(f"{path} is not here: make it with dvc repro {target}.")


def machine() -> str:
    """The processor, the device and its kernels, and the versions that matter, in words."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        first, *_ = Path("/proc/cpuinfo").read_text().split("\n\n")
        has = dict(re.findall(r"^([^\t:]+)\t*: (.*)$", first, re.MULTILINE))
        processor = has.get("model name", processor)
        # Some hosts hide the model's name; these two tell.
        if has.keys() >= {"cpu family", "model"}:
            processor += f" (family {has['cpu family']}, model {has['model']})"
    gpu = Params.load().gpu
    chosen = choose(gpu.device, gpu)
    how = f"{gpu.kernels} kernels" if chosen.device.type == "cpu" else chosen.processor
    where = f"{processor}, {cores()} cores, {chosen.device}, {how}"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"


def continued(output: Path, figures: dict[str, Any], rows: str) -> dict[str, Any]:
    """The figures in a file, with their rows, if all else in it equals these figures; otherwise these.

    So rows may come from several runs on one machine.
    """
    before = read_json(output, dict[str, Any]) if output.is_file() else figures
    return before if before | {rows: {}} == figures else figures
