"""Several processes that train one network: started by torchrun, joined by torch.distributed."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

import torch
from torch import distributed
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from fashion.errors import FashionError
from fashion.training.hardware import Hardware

# Seconds that the first process has to report an error.
GRACE = 10.0


def wanted(processes: int) -> bool:
    """Whether this process must launch others: several here, or its share of those on several machines."""
    return (processes > 1 or "PET_NNODES" in os.environ) and not distributed.is_torchelastic_launched()


def launch(processes: int, *words: str) -> None:
    """Run `python -m stages WORDS` to its end in several processes under torchrun, which share the cores.

    For several machines torchrun takes its settings from the environment: PET_NNODES and the like. Raises FashionError
    if a process was killed; if a process has reported an error itself, this one ends without a message.
    """
    # torchrun warns if it is not set.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # When a process fails, torchrun logs a page; one sentence is enough.
    logging.disable(logging.CRITICAL)
    try:
        with TemporaryDirectory() as logs:
            run.main(["--nproc-per-node", str(processes), "--log-dir", logs, "-m", "stages", *words])
    except ChildFailedError as error:
        killed = [rank for rank, failure in error.failures.items() if failure.exitcode < 0]
        if killed:
            raise FashionError(
                f"process {killed[0]} was killed; the same command resumes from the last checkpoint."
            ) from None
        sys.exit(1)
    except SignalException:
        sys.exit(1)


@contextmanager
def reported_once() -> Iterator[None]:
    """If all processes find the same error in the body, let the first one report it."""
    try:
        yield
    except FashionError:
        if os.environ.get("RANK", "0") == "0":
            raise
        # When one process ends, torchrun ends all others, including the first one.
        with suppress(KeyboardInterrupt):
            time.sleep(GRACE)
        sys.exit(1)


@contextmanager
def group(hardware: Hardware) -> Iterator[None]:
    """Join the processes of one training in a process group while the body runs; a single process needs none."""
    if hardware.processes == 1:
        yield
        return
    if hardware.device.type == "cuda":
        torch.cuda.set_device(hardware.device)
    distributed.init_process_group("nccl" if hardware.device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        # Another process died; the launcher reports it.
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            sys.exit(1)
        raise
    finally:
        distributed.destroy_process_group()


def shared(content: bytes | None, hardware: Hardware) -> bytes | None:
    """The first process's content, in every process; None if it has none."""
    if hardware.processes == 1:
        return content
    length = torch.tensor(len(content or b""), device=hardware.device)
    distributed.broadcast(length, 0)
    data = torch.empty(int(length), dtype=torch.uint8)
    if content:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    data = data.to(hardware.device)
    distributed.broadcast(data, 0)
    return data.cpu().numpy().tobytes() or None
