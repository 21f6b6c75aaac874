"""What every measurement of a training step shares: its batches, its clock, its output."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fashion.settings.params import Architecture, Params

RAW = Path("data/raw")
# Steps before the measurement, which create state, fill caches and allocate memory.
WARMUP = 3
BATCH = 128

Contestant = Callable[[Architecture, int], float]


class Clock:
    """A clock that ticks after every step; it measures the mean duration of `steps` steps after the warm-up."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ticks: list[float] = []

    def tick(self, *_: object, **__: object) -> None:
        """Note that a step has ended; when the measurement starts or ends, wait for the GPU first."""
        torch = sys.modules.get("torch")
        if torch and len(self.ticks) in (WARMUP - 1, WARMUP - 1 + self.steps) and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.ticks.append(time.perf_counter())

    def milliseconds(self) -> float:
        """The mean duration of a step."""
        return (self.ticks[WARMUP - 1 + self.steps] - self.ticks[WARMUP - 1]) / self.steps * 1e3


def main(*contestants: Contestant) -> None:
    """Run the contestant that the command line names, for its architecture and number of steps, and print its time."""
    name, key, steps = sys.argv[1:]
    contestant = next(function for function in contestants if function.__name__ == name)
    print(json.dumps(contestant(Params.load().architecture(key), int(steps))))  # noqa: T201 - for the parent process
