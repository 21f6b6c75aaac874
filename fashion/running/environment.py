"""Environment variables of a process that trains or evaluates a network."""

import os
import platform
import sys
from pathlib import Path

from fashion.errors import FashionError
from fashion.settings.fingerprint import ROOT
from fashion.settings.kernels import VARIABLES, Kernels

# By default glibc returns large freed blocks to the system, and gets new ones, page by page, in every step:
# `wide_dense` then takes twice as long, `conv4_pool2_bn` a sixth longer. No result depends on these settings.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(2**28)}


def refuse_other_code() -> None:
    """Raise FashionError if this folder has the project's code, and Python has imported that of another folder.

    The command `fashion` imports the code that was installed. With PYTHONSAFEPATH so does `python -m`, also in the
    folder of dvc exp run --temp.
    """
    here = Path("fashion")
    if here.is_dir() and not here.samefile(ROOT / "fashion"):
        raise FashionError(
            f"Python runs the code in {ROOT} and not that in this folder: use python -m stages or python -m tools, "
            "without PYTHONSAFEPATH."
        )


def use(kernels: Kernels) -> None:
    """Make oneDNN and MKL use these kernels; call it before torch is loaded."""
    os.environ |= VARIABLES[kernels]


def prepare(kernels: Kernels) -> None:
    """Use these kernels; on glibc, restart this process once so that it keeps freed memory.

    Call it before torch is loaded. glibc reads its settings only when a process starts. If one of them is set already,
    all stay unchanged.
    """
    use(kernels)
    if platform.libc_ver()[0] == "glibc" and not MEMORY.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | MEMORY)  # noqa: S606 - this same program
