"""Several processes that train one network: started by torchrun, joined by torch.distributed.

Nothing here reaches a number, so no stage depends on it.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

import torch
from torch import distributed

from fashion import FashionError
from fashion.hardware import Hardware

# Seconds in which the first process reports a mistake.
GRACE = 10.0


def wanted(processes: int) -> bool:
    """Whether this process is to launch so many, or its share of those on several machines, and is not one of them."""
    return (processes > 1 or "PET_NNODES" in os.environ) and not distributed.is_torchelastic_launched()


def launch(processes: int, *words: str) -> None:
    """Run `python -m stages WORDS` in so many processes under torchrun, which share the cores, to their end.

    For several machines torchrun takes its settings from the environment: PET_NNODES and the like. Raises FashionError
    where a process was killed; where one has said itself what is wrong this process just ends as well.
    """
    # torchrun warns where it is not set.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # What torchrun logs of an end, a page for each process, is said in one sentence.
    logging.disable(logging.CRITICAL)
    try:
        with TemporaryDirectory() as logs:
            run.main(["--nproc-per-node", str(processes), "--log-dir", logs, "-m", "stages", *words])
    except ChildFailedError as error:
        killed = [rank for rank, failure in error.failures.items() if failure.exitcode < 0]
        if killed:
            raise FashionError(
                f"process {killed[0]} was killed; the same command goes on after the last checkpoint."
            ) from None
        sys.exit(1)
    except SignalException:
        sys.exit(1)


@contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes that all find the same mistake, have the first one report it."""
    try:
        yield
    except FashionError:
        if os.environ.get("RANK", "0") == "0":
            raise
        # torchrun ends all others, the first one too, when one has ended.
        with suppress(KeyboardInterrupt):
            time.sleep(GRACE)
        sys.exit(1)


@contextmanager
def group(hardware: Hardware) -> Iterator[None]:
    """Join the processes of one training for what runs inside; alone, nothing happens."""
    if hardware.processes == 1:
        yield
        return
    if hardware.device.type == "cuda":
        torch.cuda.set_device(hardware.device)
    distributed.init_process_group("nccl" if hardware.device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        # Another one has died, which whoever started them will tell.
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            sys.exit(1)
        raise
    finally:
        distributed.destroy_process_group()


def shared(content: bytes | None, hardware: Hardware) -> bytes | None:
    """The first process's content, in every process; None where it has none."""
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
