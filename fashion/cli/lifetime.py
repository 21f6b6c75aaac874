"""When the process of a command ends."""

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def end_when_asked() -> None:
    """Make SIGTERM end this process as Ctrl-C does, and send it if the DVC that started this process dies.

    Otherwise a killed DVC would leave its command running, next to the one that the next DVC starts.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _repeat
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch, daemon=True).start()


def _repeat(dropped: "UnraisableHookArgs") -> None:
    """Repeat a signal that came while a finalizer ran: Python prints and drops exceptions raised there."""
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)


def dvc() -> str:
    """The number of the DVC process that started this one, and when it began; this one's if the system hides it."""
    try:
        starter = _starter()
        return f"{starter.pid} {starter.create_time()}"
    except (psutil.Error, ValueError, IndexError):
        return str(os.getpid())


def _starter() -> psutil.Process:
    """The DVC that started this process, perhaps with a shell between."""
    starter, *others = psutil.Process().parents()
    return others[0] if "-m stages" in " ".join(starter.cmdline()) else starter


def _watch() -> None:
    """Wait until the DVC that started this process dies."""
    try:
        starter = _starter()
        while starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.1)
    except psutil.AccessDenied:
        # This system hides the process, which may well live.
        return
    # A process that has died raises another error, or is a zombie until its parent collects it.
    except (psutil.Error, ValueError):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
