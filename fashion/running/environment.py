"""The environment variables of a process that trains or judges a network."""

import os
import platform
import sys

from fashion.kernels import VARIABLES, Kernels

# glibc gives large blocks back when they are freed and takes fresh ones, page by page, at every step. Without it
# `wide_dense` takes twice as long, `conv4_pool2_bn` a sixth longer; no result depends on it.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(2**28)}


def use(kernels: Kernels) -> None:
    """Have oneDNN and MKL use these kernels; call it before torch is loaded."""
    os.environ |= VARIABLES[kernels]


def prepare(kernels: Kernels) -> None:
    """Use these kernels and, on glibc, start this process over, once, with memory kept; call it before torch is loaded.

    glibc reads its settings only when a process starts. If one of them is there already, all stay as they are.
    """
    use(kernels)
    if platform.libc_ver()[0] == "glibc" and not MEMORY.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | MEMORY)  # noqa: S606 - this very program
