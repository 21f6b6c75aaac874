"""Environment variables of a process that trains or evaluates a network."""

import os
import platform
import sys
from typing import Literal

Kernels = Literal["portable", "fastest"]

# Which processor instructions oneDNN and MKL may use. `portable`: all processors with AVX512-BF16 give the same bytes.
KERNELS: dict[Kernels, dict[str, str]] = {
    "portable": {
        # Otherwise oneDNN uses AMX or AVX10 if the processor has them, which round sums in another order.
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        # Otherwise MKL chooses by the processor's maker: for the tanh of `lenet5_1998` and matrix products in fp32.
        "MKL_CBWR": "COMPATIBLE",
    },
    "fastest": {},
}
# By default glibc returns large freed blocks to the system, and gets new ones, page by page, in every step:
# `wide_dense` then takes twice as long, `conv4_pool2_bn` a sixth longer. No result depends on these settings.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(2**28)}


def use(kernels: Kernels) -> None:
    """Make oneDNN and MKL use these kernels; call it before torch is loaded."""
    os.environ |= KERNELS[kernels]


def prepare(kernels: Kernels) -> None:
    """Use these kernels; on glibc, restart this process once so that it keeps freed memory.

    Call it before torch is loaded. glibc reads its settings only when a process starts. If one of them is set already,
    all stay unchanged.
    """
    use(kernels)
    if platform.libc_ver()[0] == "glibc" and not MEMORY.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | MEMORY)  # noqa: S606 - this same program
