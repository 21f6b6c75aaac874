"""Work on all cores in threads that never wait for each other: each runs operations of one thread."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

One = TypeVar("One")
Other = TypeVar("Other")


def cores() -> int:
    """How many this process may use: its share of those that it may run on, where torchrun started several here."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def each(function: Callable[[One], Other], items: Sequence[One]) -> list[Other]:
    """The function of each item, in their order; several items are shared among threads, one for each core."""
    if len(items) == 1:
        return [function(items[0])]
    others = [_pool().submit(function, item) for item in items[1:]]
    return [function(items[0]), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    # OpenMP's number of threads belongs to the thread that sets it.
    return ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,))
