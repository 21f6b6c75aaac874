"""The training engine: images lie on the device as bytes, a batch is an index, an epoch is one record."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fashion import FashionError
from fashion.data import Part
from fashion.hardware import Hardware, place
from fashion.images import augmented, logits, padded, scaled
from fashion.params import Architecture, Train


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


def train(
    network: nn.Module,
    training: Part,
    validation: Part,
    architecture: Architecture,
    seed: int,
    hardware: Hardware,
    after_step: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train a network in place, one record an epoch; it holds that epoch's weights while the record is yielded.

    Whole batches only: the images that are left over sit an epoch out. Every epoch draws from a seed of its own, made
    of `seed` and its number. Raises FashionError where the loss is no number any more.
    """
    recipe = architecture.train
    device = hardware.device
    images, labels = _on(device, training)
    held_out, held_out_labels = _on(device, validation)
    source = padded(images, recipe.augment.shift)
    place(network, hardware)
    optimizer = make_optimizer(network, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=hardware.precision == "fp16")
    steps = steps_per_epoch(len(labels), recipe)
    best = (-1.0, 0.0)

    for number in range(1, recipe.epochs + 1):
        drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        torch.manual_seed(drawn)  # for dropout
        generator = torch.Generator(device).manual_seed(drawn)
        order = torch.randperm(len(labels), generator=generator, device=device)
        # Summed on the device: reading a number there would wait for every step.
        loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.int64)
        rate = 0.0
        network.train()
        for step, index in enumerate(order[: steps * recipe.batch_size].split(recipe.batch_size)):
            rate = learning_rate(recipe, (number - 1) * steps + step, recipe.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            augment = recipe.augment
            batch = augmented(source, index, augment.flip, augment.shift, augment.erase, generator)
            target = labels[index]
            with hardware.autocast():
                output = network(scaled(batch, architecture.pixels.black, architecture.pixels.white)).float()
            loss = functional.cross_entropy(output, target, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            loss_sum += loss.detach()
            correct += (output.detach().argmax(1) == target).sum()
            after_step()

        with hardware.autocast():
            output = logits(network, held_out, architecture.pixels.black, architecture.pixels.white)
        validation_loss, validation_accuracy = _judged(output, held_out_labels)
        train_loss = loss_sum.item() / steps
        if not math.isfinite(train_loss + validation_loss):
            raise FashionError(
                f"in epoch {number} the loss is no number any more: lower the learning rate, train again."
            )
        score = (validation_accuracy, -validation_loss)
        yield Epoch(
            number=number,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=correct.item() / min(steps * recipe.batch_size, len(labels)),
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            best=score > best,
        )
        best = max(best, score)


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights and running statistics on the CPU, unmoved by further training."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}


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
