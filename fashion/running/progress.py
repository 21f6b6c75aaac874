"""What a person sees while training runs; nothing here reaches a number, so no stage depends on it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from fashion.training import Epoch


def step_bar(steps: int, done: int = 0) -> "tqdm[Any]":
    """A bar over all steps with the time left, on a terminal only."""
    return tqdm(total=steps, initial=done, unit="step", disable=None, leave=False)


def epoch_lines(epochs: int, done: int = 0) -> Callable[["Epoch"], str]:
    """A function that says in one line what an epoch gave and how long the rest will take, timed from now."""
    started = time.monotonic()

    def line(epoch: "Epoch") -> str:
        left = (time.monotonic() - started) / (epoch.number - done) * (epochs - epoch.number)
        best = "*" if epoch.best else " "
        return (
            f"epoch {epoch.number:3}/{epochs}  training {epoch.train_accuracy:.2%}  "
            f"validation {epoch.validation_accuracy:.2%} {best}  {tqdm.format_interval(left)} left"
        )

    return line
