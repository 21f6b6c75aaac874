"""When a training process ends; nothing here reaches a number, so no stage depends on it."""

import os
import signal
import threading
import time
from contextlib import suppress

import psutil


def end_when_told() -> None:
    """Have SIGTERM end this process as Ctrl-C does, and send itself one when the DVC that started it dies.

    DVC runs its stages as children, and one that is killed would leave them at work beside those of the next.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    """Wait for the death of the nearest ancestor that is no shell: dash stays between, bash gives way."""
    # Whoever has died meanwhile is an error here; one that nobody has asked after yet is a zombie.
    with suppress(psutil.Error):
        ancestors = psutil.Process().parents()
        dvc = next(process for process in ancestors if "-m stages" not in " ".join(process.cmdline()))
        while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
