"""The progress of a training, for people."""

import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from fashion.data.reading import Part
from fashion.training.engine import Epoch, Run, train
from fashion.training.recipe import steps_per_epoch


def shown(run: Run, training: Part, validation: Part, epochs: int, say: Callable[[str], object]) -> Iterator[Epoch]:
    """Train a run up to that number of epochs, with a line for each and, on a terminal, a progress bar."""
    steps = steps_per_epoch(len(training.labels), run.architecture.train)
    done, started = len(run.epochs), time.monotonic()
    if done >= epochs:
        return
    bar = tqdm(total=epochs * steps, initial=done * steps, unit="step", disable=None, leave=False)
    with bar:
        for epoch in train(run, training, validation, bar.update):
            left = (time.monotonic() - started) / (epoch.number - done) * (epochs - epoch.number)
            with bar.external_write_mode():
                say(
                    f"epoch {epoch.number:3}/{epochs}  training {epoch.train_accuracy:.2%}  validation "
                    f"{epoch.validation_accuracy:.2%} {'*' if epoch.best else ' '}  {tqdm.format_interval(left)} left"
                )
            yield epoch
            if epoch.number == epochs:
                return
