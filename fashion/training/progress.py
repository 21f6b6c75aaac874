"""The progress of a training, for people."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from fashion.training.engine import Epoch, Run
from fashion.training.recipe import steps_per_epoch

# What to call after each step, and after each epoch.
Shown = tuple[Callable[[], object], Callable[[Epoch], object]]


@contextmanager
def progress(run: Run, images: int, epochs: int, say: Callable[[str], object]) -> Iterator[Shown]:
    """Show a training up to that number of epochs: a line for each and, on a terminal, a bar.

    images: the number of training images.
    """
    steps = steps_per_epoch(images, run.architecture.train)
    done, started = len(run.epochs), time.monotonic()
    with tqdm(total=epochs * steps, initial=done * steps, unit="step", disable=None, leave=False) as bar:

        def show(epoch: Epoch) -> None:
            left = (time.monotonic() - started) / (epoch.number - done) * (epochs - epoch.number)
            with bar.external_write_mode():
                say(
                    f"epoch {epoch.number:3}/{epochs}  training {epoch.train_accuracy:.2%}  validation "
                    f"{epoch.validation_accuracy:.2%} {'*' if epoch.best else ' '}  {tqdm.format_interval(left)} left"
                )

        yield bar.update, show
