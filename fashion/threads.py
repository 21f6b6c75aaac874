"""Work on all cores in threads that do not wait for each other: each one runs operations in a single thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import joblib
import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The number of cores that this process may use, by its affinity and its container's quota."""
    count: int = joblib.cpu_count()
    return count


def each(function: Callable[[Item], Result], items: Sequence[Item], device: str = "cpu") -> list[Result]:
    """The function's result for each item, in order: the first in this thread, the others in a pool of threads.

    device: the kind that computes them. On a GPU, this thread calls the function for one item after the other, since
    the GPU gets its work from a queue.
    """
    if device != "cpu":
        return [function(item) for item in items]
    first, *others = items
    futures = [_pool().submit(function, item) for item in others]
    try:
        return [function(first), *(future.result() for future in futures)]
    finally:
        # After an error or Ctrl-C nothing needs the rest.
        for future in futures:
            future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    # The number of threads of an operation is a setting of the thread that calls it, so set it in this thread too.
    torch.set_num_threads(1)
    return ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,))
