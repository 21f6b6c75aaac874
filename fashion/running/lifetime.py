"""When a training process ends; nothing here reaches a number, so no stage depends on it."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def end_when_told() -> None:
    """Have SIGTERM end this process as Ctrl-C does, and send itself one when the DVC or torchrun that started it dies.

    They run their commands as children, and one that is killed would leave them at work beside those of the next.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _tell_again
    if os.environ.keys() & {"DVC_STAGE", "TORCHELASTIC_RUN_ID"}:
        threading.Thread(target=_watch, daemon=True).start()


def _tell_again(dropped: "UnraisableHookArgs") -> None:
    """Repeat an order to end that came while a finalizer ran: what is raised there Python prints and drops."""
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)


def _watch() -> None:
    """Wait for the death of the starter: torchrun is the parent; of DVC a shell may stay between, as dash does."""
    # Whoever has died meanwhile is an error here; one that nobody has asked after yet is a zombie.
    with suppress(psutil.Error):
        starter, *others = psutil.Process().parents()
        if "TORCHELASTIC_RUN_ID" not in os.environ and "-m stages" in " ".join(starter.cmdline()):
            starter = others[0]
        while starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
