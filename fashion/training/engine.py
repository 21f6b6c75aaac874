"""The training engine: images are on the device as bytes, a batch is an array of indices, an epoch gives one record."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.networks.hardware import Hardware, configure, place
from fashion.networks.inference import logits
from fashion.settings.description import Architecture
from fashion.training.augmentation import views
from fashion.training.lanes import Lanes, sums
from fashion.training.recipe import learning_rate, smallest_share, steps_per_epoch


@dataclass(frozen=True)
class Epoch:
    """The record of one epoch: means over its batches during training, and over the validation images after it.

    best: whether its weights are the best so far, by validation accuracy, then by validation loss.
    """

    number: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    best: bool


@dataclass
class Run:
    """One training: what determines it, and its state.

    lanes: what computes the network; epochs: the records so far; best: the weights of the best of them.
    """

    network: nn.Sequential
    architecture: Architecture
    seed: int
    hardware: Hardware
    lanes: Lanes
    epochs: list[Epoch]
    best: dict[str, Tensor]

    def state(self) -> tuple[dict[str, Tensor], Any]:
        """What the next epoch depends on, in addition to what determines the run: tensors by name, and plain values."""
        optimizer, scaler = self.lanes.state()
        tensors = {"network": self.network.state_dict(), "best": self.best, "optimizer": optimizer}
        flat = {f"{group}/{name}": tensor for group, state in tensors.items() for name, tensor in state.items()}
        return flat, {"epochs": [asdict(epoch) for epoch in self.epochs], "scaler": scaler}

    def resume(self, tensors: dict[str, Tensor], values: Any) -> None:
        """Restore a `state`, to the bit."""
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.network.load_state_dict(groups["network"])
        self.best = groups["best"]
        self.lanes.load(groups["optimizer"], values["scaler"])
        self.epochs = [Epoch(**epoch) for epoch in values["epochs"]]


def begin(network: nn.Sequential, architecture: Architecture, seed: int, hardware: Hardware) -> Run:
    """Place a network on its device and prepare to train it there."""
    configure(hardware)
    lanes = Lanes(place(network, hardware), architecture, hardware)
    return Run(network, architecture, seed, hardware, lanes, [], {})


def train(
    run: Run, training: Part, validation: Part, after_step: Callable[[], object] = lambda: None
) -> Iterator[Epoch]:
    """Train the remaining epochs of a run and yield each one's record, while the network has that epoch's weights.

    Batches are whole: an epoch leaves out the images that do not fill one. after_step: called after each step. Raises
    FashionError if the loss becomes NaN or infinite.
    """
    recipe, pixels, hardware = run.architecture.train, run.architecture.pixels, run.hardware
    images, labels = _on(hardware.device, training)
    held_out, held_out_labels = _on(hardware.device, validation)
    source = views(images, recipe.augment)
    smallest_share(size := min(recipe.batch_size, len(labels)), recipe.lanes)
    step = run.lanes.stepper(source, labels, size)
    for number in range(len(run.epochs) + 1, recipe.epochs + 1):
        rate, train_loss, train_accuracy = _train_epoch(run, number, len(labels), step, after_step)
        network = run.lanes.all[0].network
        output = logits(network, held_out, pixels.black, pixels.white, hardware.dtype)
        validation_loss, validation_accuracy = sums(output, held_out_labels).div(len(held_out_labels)).tolist()
        if not math.isfinite(train_loss + validation_loss):
            raise FashionError(f"in epoch {number} the loss became NaN or infinite: lower train.learning_rate.")
        before = max(((epoch.validation_accuracy, -epoch.validation_loss) for epoch in run.epochs), default=(-1.0, 0.0))
        epoch = Epoch(
            number=number,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            best=(validation_accuracy, -validation_loss) > before,
        )
        run.epochs.append(epoch)
        if epoch.best:
            run.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in run.network.state_dict().items()}
        yield epoch


def _train_epoch(
    run: Run, number: int, images: int, step: Callable[[float, Tensor], None], after_step: Callable[[], object]
) -> tuple[float, float, float]:
    """Train one epoch; return the last learning rate, and the mean loss and the accuracy over its batches.

    Each epoch has its own seeds, derived from the run's seed and its number: one for the order of the images, and two
    for each lane's augmentation and dropout.
    """
    recipe, hardware = run.architecture.train, run.hardware
    steps, size = steps_per_epoch(images, recipe), min(recipe.batch_size, images)
    drawn = np.random.SeedSequence([run.seed, number]).generate_state(1 + 2 * recipe.lanes)
    run.lanes.start_epoch(drawn[1:].reshape(-1, 2).tolist())
    # Drawn on the CPU, so that every device trains on the same batches and lanes.
    order = torch.randperm(images, generator=torch.Generator().manual_seed(int(drawn[0]))).to(hardware.device)
    rate = 0.0
    for i, index in enumerate(order[: steps * size].split(size)):
        rate = learning_rate(recipe, (number - 1) * steps + i, recipe.epochs * steps)
        step(rate, index)
        after_step()
    run.lanes.end_epoch()
    of_lanes = [
        sums(torch.cat(lane.outputs), torch.cat(lane.targets), recipe.label_smoothing) for lane in run.lanes.all
    ]
    train_loss, train_accuracy = torch.stack(of_lanes).sum(0).div(steps * size).tolist()
    return rate, train_loss, train_accuracy


def _on(device: torch.device, part: Part) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.images, device=device), torch.tensor(part.labels, device=device)
