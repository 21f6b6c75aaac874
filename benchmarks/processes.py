"""Measurements in processes of their own, which alone read glibc's settings anew, and the machine they ran on."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fashion import FashionError
from fashion.kernels import VARIABLES
from fashion.running.environment import MEMORY

RAW = Path("data/raw")


def alone(module: str, *words: str, environment: dict[str, str], python: str = sys.executable) -> Any:
    """What a module, run in a new process without settings of memory or kernels but those given, prints last, as JSON.

    Raises FashionError, with the last line of its complaint, where it fails.
    """
    ours = MEMORY.keys() | VARIABLES["portable"].keys()
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    command = [python, "-m", module, *words]
    done = subprocess.run(command, env=clean | environment, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if done.returncode:
        complaint = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise FashionError(f"python -m {module} {' '.join(words)} failed: {complaint}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy while the body runs."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def need(path: Path, target: str) -> None:
    """Raise FashionError, with the command that makes it, where a path is not here."""
    if not path.exists():
        raise FashionError(f"{path} is not here: make it with dvc repro {target}.")


def machine() -> str:
    """The device, and the versions that matter, in words."""
    import torch

    from fashion.hardware import choose
    from fashion.params import Params

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        names = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    chosen = choose(**Params.load().gpu.model_dump(exclude={"processes"})).why
    return f"{processor}, {chosen}, torch {torch.__version__}, Python {platform.python_version()}"
