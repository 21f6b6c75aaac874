"""The training engine: images lie on the device as bytes, a batch is an index, an epoch is one record."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from fashion import FashionError
from fashion.data import Part
from fashion.description import Architecture, Train
from fashion.hardware import DTYPES, Hardware, place
from fashion.images import augmented, logits, scaled, views
from fashion.lanes import Lane, Lanes


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave: means over its batches as they were trained on, and over the validation images after it.

    best: whether these weights are the best so far, by validation accuracy, then by validation loss.
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
    """One training: what determines it, and how far it has come.

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
        """All that the next epoch depends on, beside what determines the run: tensors, and values for JSON."""
        optimizer, scaler = self.lanes.state()
        tensors = {"network": self.network.state_dict(), "best": self.best, "optimizer": optimizer}
        flat = {f"{group}/{name}": tensor for group, state in tensors.items() for name, tensor in state.items()}
        return flat, {"epochs": [asdict(epoch) for epoch in self.epochs], "scaler": scaler}

    def resume(self, tensors: dict[str, Tensor], values: Any) -> None:
        """Go back to a `state`, to the bit."""
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.network.load_state_dict(groups["network"])
        self.best = groups["best"]
        self.lanes.load(groups["optimizer"], values["scaler"])
        self.epochs = [Epoch(**epoch) for epoch in values["epochs"]]


def begin(network: nn.Sequential, architecture: Architecture, seed: int, hardware: Hardware) -> Run:
    """Place a network on its device and make ready to train it there."""
    recipe = architecture.train
    lanes = Lanes(place(network, hardware), hardware, lambda weights: make_optimizer(weights, recipe, hardware))
    return Run(network, architecture, seed, hardware, lanes, [], {})


def train(
    run: Run, training: Part, validation: Part, after_step: Callable[[], object] = lambda: None
) -> Iterator[Epoch]:
    """Train what is left of a run, one record an epoch; the network holds that epoch's weights meanwhile.

    Whole batches only: the images that are left over sit an epoch out. Raises FashionError where the loss is no number
    any more.
    """
    recipe, pixels, hardware = run.architecture.train, run.architecture.pixels, run.hardware
    images, labels = _on(hardware.device, training)
    held_out, held_out_labels = _on(hardware.device, validation)
    source = views(images, recipe.augment.flip, recipe.augment.shift)
    if (size := min(recipe.batch_size, len(labels))) < hardware.lanes:
        raise FashionError(f"{hardware.lanes} lanes cannot share a batch of {size}: raise train.batch_size.")
    for number in range(len(run.epochs) + 1, recipe.epochs + 1):
        rate, train_loss, train_accuracy = _train_epoch(run, number, source, labels, after_step)
        network = run.lanes.own[0].network
        output = logits(network, held_out, pixels.black, pixels.white, DTYPES[hardware.precision])
        validation_loss, validation_accuracy = _judged(output, held_out_labels).div(len(held_out_labels)).tolist()
        if not math.isfinite(train_loss + validation_loss):
            raise FashionError(
                f"in epoch {number} the loss is no number any more: lower the learning rate, train again."
            )
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
    run: Run, number: int, source: Tensor, labels: Tensor, after_step: Callable[[], object]
) -> tuple[float, float, float]:
    """Train one epoch; the last learning rate, and the mean loss and the accuracy over its batches.

    Every epoch draws from seeds of its own, made of the run's and its number: one for the order of the images, and two
    for each lane's augmentation and dropout.
    """
    recipe, pixels, hardware = run.architecture.train, run.architecture.pixels, run.hardware
    augment = recipe.augment
    steps, size = steps_per_epoch(len(labels), recipe), min(recipe.batch_size, len(labels))
    drawn = np.random.SeedSequence([run.seed, number]).generate_state(1 + 2 * hardware.lanes)
    run.lanes.start_epoch(drawn[1:].reshape(-1, 2).tolist())
    generator = torch.Generator(hardware.device).manual_seed(int(drawn[0]))
    order = torch.randperm(len(labels), generator=generator, device=hardware.device)

    def loss(lane: Lane, share: Tensor) -> Tensor:
        batch = augmented(source, share, augment.flip, augment.erase, lane.generator)
        with hardware.autocast():
            output = lane.network(scaled(batch, pixels.black, pixels.white)).float()
        lane.outputs.append(output.detach())
        lane.targets.append(labels[share])
        return _loss(output, lane.targets[-1], recipe.label_smoothing) / size

    rate = 0.0
    for step, index in enumerate(order[: steps * size].split(size)):
        rate = learning_rate(recipe, (number - 1) * steps + step, recipe.epochs * steps)
        run.lanes.step(rate, index, loss)
        after_step()
    run.lanes.end_epoch()
    judged = [
        _judged(torch.cat(lane.outputs), torch.cat(lane.targets), recipe.label_smoothing) for lane in run.lanes.own
    ]
    sums = torch.stack(judged).sum(0)
    if hardware.processes > 1:
        distributed.all_reduce(sums)
    train_loss, train_accuracy = sums.div(steps * size).tolist()
    return rate, train_loss, train_accuracy


def steps_per_epoch(images: int, recipe: Train) -> int:
    """Whole batches in an epoch; one small one where there are fewer images than a batch takes."""
    return max(1, images // recipe.batch_size)


def learning_rate(recipe: Train, step: int, steps: int) -> float:
    """The rate of a step, counted from 0: linear warm-up to the highest, then the schedule; never zero."""
    warmup = recipe.warmup * steps
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    left = (steps - step) / (steps - warmup)
    shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return recipe.learning_rate * shape[recipe.schedule]


def make_optimizer(weights: list[nn.Parameter], recipe: Train, hardware: Hardware) -> torch.optim.Optimizer:
    """The recipe's optimizer, fused (one pass over the weights a step) where torch offers that."""
    decay = recipe.weight_decay
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(weights, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(weights, weight_decay=decay, foreach=True)
        case "sgd":
            # In fp16 the fused form skips a first step that overflows, and then takes momentum from unwritten memory.
            fused = hardware.precision != "fp16"
            return torch.optim.SGD(weights, momentum=0.9, nesterov=True, weight_decay=decay, fused=fused)


def _loss(output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum of the cross-entropies of logits."""
    return functional.cross_entropy(output, labels, label_smoothing=label_smoothing, reduction="sum")


def _judged(output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum of cross-entropies, and the number of right answers, of logits: float32 of shape (2)."""
    return torch.stack([_loss(output, labels, label_smoothing), (output.argmax(1) == labels).sum()])


def _on(device: torch.device, part: Part) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.images, device=device), torch.tensor(part.labels, device=device)
