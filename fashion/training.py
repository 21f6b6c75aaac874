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
from torch.nn.parallel import DistributedDataParallel

from fashion import FashionError
from fashion.data import Part
from fashion.description import Architecture, Train
from fashion.hardware import Hardware, place
from fashion.images import augmented, logits, scaled, views


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

    placed: what computes the network; epochs: the records so far; best: the weights of the best of them.
    """

    network: nn.Sequential
    architecture: Architecture
    seed: int
    hardware: Hardware
    placed: nn.Sequential
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epochs: list[Epoch]
    best: dict[str, Tensor]

    def state(self) -> tuple[dict[str, Tensor], Any]:
        """All that the next epoch depends on, beside what determines the run: tensors, and values for JSON."""
        optimizer = self.optimizer.state_dict()["state"]
        tensors = {
            "network": self.network.state_dict(),
            "best": self.best,
            **{f"optimizer.{number}": state for number, state in optimizer.items()},
        }
        flat = {f"{group}/{name}": tensor for group, state in tensors.items() for name, tensor in state.items()}
        return flat, {"epochs": [asdict(epoch) for epoch in self.epochs], "scaler": self.scaler.state_dict()}

    def resume(self, tensors: dict[str, Tensor], values: Any) -> None:
        """Go back to a `state`, to the bit."""
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.network.load_state_dict(groups["network"])
        self.best = groups["best"]
        for number, weight in enumerate(self.network.parameters()):
            # In the weight's memory format, which the fused optimizers take for granted; they count steps beside it.
            beside = weight.device if self.optimizer.defaults.get("fused") else torch.device("cpu")
            self.optimizer.state[weight] = {
                name: torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor.to(beside)
                for name, tensor in groups[f"optimizer.{number}"].items()
            }
        self.scaler.load_state_dict(values["scaler"])
        self.epochs = [Epoch(**epoch) for epoch in values["epochs"]]


def begin(network: nn.Sequential, architecture: Architecture, seed: int, hardware: Hardware) -> Run:
    """Place a network on its device and make ready to train it there."""
    placed = place(network, hardware)
    optimizer = make_optimizer(network, architecture.train)
    scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.precision == "fp16")
    return Run(network, architecture, seed, hardware, placed, optimizer, scaler, [], {})


def train(
    run: Run, training: Part, validation: Part, after_step: Callable[[], object] = lambda: None
) -> Iterator[Epoch]:
    """Train what is left of a run, one record an epoch; the network holds that epoch's weights meanwhile.

    Whole batches only: the images that are left over sit an epoch out. Every epoch draws from a seed of its own, made
    of the run's and its number. Of several processes each takes its share of every batch, and all draw the same order
    and augmentation, as one alone does. Raises FashionError where the loss is no number any more.
    """
    recipe, pixels = run.architecture.train, run.architecture.pixels
    augment = recipe.augment
    device, rank, processes = run.hardware.device, run.hardware.rank, run.hardware.processes
    images, labels = _on(device, training)
    held_out, held_out_labels = _on(device, validation)
    source = views(images, augment.flip, augment.shift)
    steps = steps_per_epoch(len(labels), recipe)
    size = min(recipe.batch_size, len(labels))
    if size % processes:
        raise FashionError(f"{processes} processes cannot share {size} images evenly: change train.batch_size.")
    network: nn.Module = run.placed
    if processes > 1:
        network = DistributedDataParallel(run.placed)

    for number in range(len(run.epochs) + 1, recipe.epochs + 1):
        # One for the order and the augmentation, which all processes share, and one for the dropout of each.
        drawn, *dropout = np.random.SeedSequence([run.seed, number]).generate_state(1 + processes).tolist()
        torch.manual_seed(dropout[rank])
        generator = torch.Generator(device).manual_seed(drawn)
        order = torch.randperm(len(labels), generator=generator, device=device)
        # Summed on the device: reading a number there would wait for every step.
        loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.int64)
        rate = 0.0
        run.placed.train()
        for step, index in enumerate(order[: steps * size].split(size)):
            rate = learning_rate(recipe, (number - 1) * steps + step, recipe.epochs * steps)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            batch = augmented(source, index, augment.flip, augment.erase, generator)[rank::processes]
            target = labels[index[rank::processes]]
            with run.hardware.autocast():
                output = network(scaled(batch, pixels.black, pixels.white)).float()
            loss = functional.cross_entropy(output, target, label_smoothing=recipe.label_smoothing)
            run.optimizer.zero_grad(set_to_none=True)
            run.scaler.scale(loss).backward()
            run.scaler.step(run.optimizer)
            run.scaler.update()
            loss_sum += loss.detach()
            correct += (output.detach().argmax(1) == target).sum()
            after_step()

        if processes > 1:
            distributed.all_reduce(loss_sum)
            distributed.all_reduce(correct)
        with run.hardware.autocast():
            output = logits(run.placed, held_out, pixels.black, pixels.white)
        validation_loss, validation_accuracy = _judged(output, held_out_labels)
        train_loss = loss_sum.item() / processes / steps
        if not math.isfinite(train_loss + validation_loss):
            raise FashionError(
                f"in epoch {number} the loss is no number any more: lower the learning rate, train again."
            )
        before = max(((epoch.validation_accuracy, -epoch.validation_loss) for epoch in run.epochs), default=(-1.0, 0.0))
        epoch = Epoch(
            number=number,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=correct.item() / (steps * size),
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            best=(validation_accuracy, -validation_loss) > before,
        )
        run.epochs.append(epoch)
        if epoch.best:
            run.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in run.network.state_dict().items()}
        yield epoch


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


def make_optimizer(network: nn.Module, recipe: Train) -> torch.optim.Optimizer:
    """The recipe's optimizer, fused (one pass over the weights a step) where torch offers that."""
    weights, decay = list(network.parameters()), recipe.weight_decay
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(weights, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(weights, weight_decay=decay, foreach=True)
        case "sgd":
            return torch.optim.SGD(weights, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)


def _judged(output: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of logits."""
    accuracy = (output.argmax(1) == labels).float().mean()
    return functional.cross_entropy(output, labels).item(), accuracy.item()


def _on(device: torch.device, part: Part) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.images, device=device), torch.tensor(part.labels, device=device)
