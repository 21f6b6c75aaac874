"""Memory that a training process keeps; nothing here reaches a number, so no stage depends on it."""

import os
import platform
import sys

# glibc gives large blocks back when they are freed and takes fresh ones, page by page, at every step.
SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(2**28)}


def keep_memory() -> None:
    """Start this process over, once, with glibc told to keep freed memory; settings that are there stay.

    Twice the speed for `wide_dense`, a sixth more for `conv4_pool2_bn`; glibc reads them at a process's start only.
    Elsewhere than on glibc nothing happens.
    """
    if platform.libc_ver()[0] == "glibc" and not SETTINGS.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | SETTINGS)  # noqa: S606 - this very program
