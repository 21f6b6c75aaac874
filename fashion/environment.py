"""The processor's instructions, and the environment variables of a process that trains or evaluates a network."""

import os
import platform
import sys
from pathlib import Path
from typing import Literal, NamedTuple

Kernels = Literal["portable", "fastest"]
Precision = Literal["fp32", "bf16", "fp16"]


class Instructions(NamedTuple):
    """The least instructions in which a CPU computes a precision natively, and what limits all libraries to them.

    flags: the instructions as Linux names them.
    """

    name: str
    flags: frozenset[str]
    variables: dict[str, str]


# All processors that have a precision's instructions give the same bytes with its variables. With newer instructions
# oneDNN and ATen add in another order, and MKL chooses its code by the processor's maker unless it is COMPATIBLE.
PORTABLE: dict[Precision, Instructions] = {
    "fp32": Instructions(
        "AVX2",
        frozenset({"avx2", "fma"}),
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"},
    ),
    "bf16": Instructions(
        "AVX512-BF16",
        frozenset({"avx512_bf16"}),
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "ATEN_CPU_CAPABILITY": "avx512", "MKL_CBWR": "COMPATIBLE"},
    ),
}
# By default glibc returns large freed blocks to the system, and gets new ones, page by page, in every step:
# `wide_dense` then takes twice as long, `conv4_pool2_bn` a sixth longer. No result depends on these settings.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(2**28)}


def native(precision: Precision) -> bool:
    """Whether this CPU has the instructions of that precision's portable kernels, as far as Linux lists them."""
    return precision in PORTABLE and PORTABLE[precision].flags <= _flags()


def variables(kernels: Kernels, precision: Precision) -> dict[str, str]:
    """The variables for these kernels; none where the CPU lacks what portable ones need, so that it uses all it has."""
    return PORTABLE[precision].variables if kernels == "portable" and native(precision) else {}


def use(kernels: Kernels, precision: Precision = "fp32") -> None:
    """Make all libraries use these kernels for that precision; call it before torch is loaded."""
    os.environ |= variables(kernels, precision)


def prepare(kernels: Kernels, precision: Precision = "fp32") -> None:
    """Use these kernels and none of dvclive's switches; on glibc, restart this process once so that it keeps memory.

    Call it before torch and dvclive are loaded. glibc reads its settings only when a process starts. If one of them is
    set already, all stay unchanged.
    """
    use(kernels, precision)
    # With DVCLIVE_TEST in the environment dvclive writes elsewhere, with DVCLIVE_RESUME it counts on.
    for name in [name for name in os.environ if name.startswith("DVCLIVE_")]:
        del os.environ[name]
    if platform.libc_ver()[0] == "glibc" and not MEMORY.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | MEMORY)  # noqa: S606 - this same program


def _flags() -> frozenset[str]:
    """The features of this CPU, as Linux on x86-64 lists them; none elsewhere."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return frozenset(next((line.split() for line in lines if line.startswith("flags")), []))
    except OSError:
        return frozenset()
