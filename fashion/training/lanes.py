"""Lanes: the parts of each batch, whose gradients are added in the lanes' order.

The number of lanes is part of the recipe: each lane has its own random numbers, and batch norm normalises its images by
themselves. Where they are computed is not: by one thread each on a CPU, one after the other on a GPU.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fashion.networks.hardware import Hardware
from fashion.networks.inference import scaled
from fashion.networks.layers import Dropout
from fashion.settings.description import Architecture
from fashion.threads import cores, each
from fashion.training.augmentation import augmented
from fashion.training.graphs import Replay
from fashion.training.recipe import make_optimizer

# Weights are padded to, and cut at, multiples of this many values: whole vectors, so that no cut changes a rounding.
WHOLE = 64
# Updating fewer weights than this takes less time than waking another thread.
SLICE = 2**18


@dataclass
class Lane:
    """One part of each batch: a network that shares its weights, with statistics and random numbers of its own.

    generator: draws the augmentation. gradients: those of all weights, in one flat tensor. views: the same memory, in
    the shape of each weight. outputs, targets: the network's logits for each batch of this epoch, and the labels.
    """

    network: nn.Sequential
    generator: torch.Generator
    gradients: Tensor
    views: list[Tensor]
    outputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)


@dataclass
class Slice:
    """Weights that one thread updates.

    rounded: the same weights in the layers' precision. gradients: those of each lane; the first becomes their sum.
    """

    optimizer: torch.optim.Optimizer
    weights: nn.Parameter
    rounded: Tensor
    gradients: Sequence[Tensor]


class Lanes:
    """All lanes, and the weights that they share, in one flat tensor: few operations a step."""

    def __init__(
        self,
        placed: nn.Sequential,
        architecture: Architecture,
        hardware: Hardware,
    ) -> None:
        """Move a placed network's weights into one flat tensor; its parameters become views of that."""
        self._placed, self._architecture, self._hardware = placed, architecture, hardware
        self._scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.precision == "fp16")
        parameters = list(placed.parameters())
        starts = [0, *accumulate(-(-weight.numel() // WHOLE) * WHOLE for weight in parameters)]

        def views(row: Tensor) -> list[Tensor]:
            places = zip(parameters, starts[:-1], strict=True)
            return [row.as_strided(weight.size(), weight.stride(), start) for weight, start in places]

        weights = torch.zeros(starts[-1], device=hardware.device)
        for weight, view in zip(parameters, views(weights), strict=True):
            weight.data = view.copy_(weight.detach())
        # Rounded once a step for all lanes. Weights that are not multiplied stay in full precision, as under autocast.
        rounded = weights.to(hardware.dtype)
        low = _autocast_weights(placed)
        pairs = zip(parameters, views(rounded), strict=True)
        self._leaves = [nn.Parameter(view if id(weight) in low else weight.detach()) for weight, view in pairs]
        shared = {id(weight): leaf for weight, leaf in zip(parameters, self._leaves, strict=True)}
        self.all = []
        for _ in range(architecture.train.lanes):
            network = copy.deepcopy(placed, dict(shared))
            if hardware.numerics.compile:
                network.compile()
            gradients = torch.zeros_like(weights)
            self.all.append(Lane(network, torch.Generator(hardware.device), gradients, views(gradients)))
        rows = (weights, rounded, *(lane.gradients for lane in self.all))
        parts = zip(*(row.split(_slice_size(weights)) for row in rows), strict=True)
        self._slices = [self._slice(*part) for part in parts]

    def start_epoch(self, seeds: Sequence[Sequence[int]]) -> None:
        """Copy the network's state to the lanes, and seed augmentation and dropout: two seeds for each lane."""
        self._spread()
        # On GPUs all lanes' dropout draws from torch's own generator, one lane after the other.
        torch.manual_seed(seeds[0][1])
        for lane, (augmentation, dropout) in zip(self.all, seeds, strict=True):
            lane.generator.manual_seed(augmentation)
            draws = torch.Generator().manual_seed(dropout)
            for module in lane.network.modules():
                if isinstance(module, Dropout):
                    module.generator = draws
            lane.outputs.clear()
            lane.targets.clear()
            lane.network.train()

    def stepper(self, source: Tensor, labels: Tensor, size: int) -> Callable[[float, Tensor], None]:
        """A function that, for a rate and a batch, its images' indices, updates the weights once.

        It lowers the sum of the lanes' losses, the mean over a batch. source: the `views` of all images. size: that of
        every batch.
        """
        compute: Callable[[Tensor], list[Tensor]] = partial(self._compute, source, labels, size)
        if self._replayable():
            compute = Replay(compute, [lane.generator for lane in self.all])

        def step(rate: float, batch: Tensor) -> None:
            for piece in self._slices:
                _set_rate(piece.optimizer.param_groups[0], rate)
            outputs_and_targets = iter(compute(batch))
            for lane in self.all:
                lane.outputs.append(next(outputs_and_targets))
                lane.targets.append(next(outputs_and_targets))

        return step

    def _replayable(self) -> bool:
        """Whether a CUDA graph can replay a step: on a GPU, if nothing in it waits for a value from there."""
        # In fp16 only a fused optimizer decides on the GPU whether a gradient overflowed.
        stays = _is_fused if self._scaler.is_enabled() else _counts_on_device
        return self._hardware.device.type == "cuda" and all(stays(piece.optimizer) for piece in self._slices)

    def _compute(self, source: Tensor, labels: Tensor, size: int, batch: Tensor) -> list[Tensor]:
        """Update the weights once; return each lane's logits and labels, one after the other."""
        recipe, pixels = self._architecture.train, self._architecture.pixels

        def differentiate(task: tuple[Lane, Tensor]) -> tuple[Tensor, Tensor]:
            lane, share = task
            images, targets = augmented(source, share, recipe.augment, lane.generator), labels[share]
            with self._hardware.autocast():
                output = lane.network(scaled(images, pixels.black, pixels.white)).float()
            loss = _loss(output, targets, recipe.label_smoothing) / size
            gradients = torch.autograd.grad(self._scaler.scale(loss), self._leaves)
            for view, gradient in zip(lane.views, gradients, strict=True):
                view.copy_(gradient)
            return output.detach(), targets

        tasks = list(zip(self.all, batch.tensor_split(len(self.all)), strict=True))
        results = each(differentiate, tasks, self._hardware.device.type)
        each(self._update, self._slices)
        self._scaler.update()
        return [tensor for of_lane in results for tensor in of_lane]

    def _slice(self, weights: Tensor, rounded: Tensor, *gradients: Tensor) -> Slice:
        leaf = nn.Parameter(weights)
        leaf.grad = gradients[0]
        optimizer = make_optimizer([leaf], self._architecture.train, self._hardware.precision)
        return Slice(optimizer, leaf, rounded, gradients)

    @torch.no_grad()
    def _update(self, piece: Slice) -> None:
        _add(piece.gradients[0], piece.gradients[1:])
        self._scaler.step(piece.optimizer)
        if piece.rounded.dtype != piece.weights.dtype:
            piece.rounded.copy_(piece.weights)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Give the network and all lanes the mean of the lanes' running statistics."""
        for (name, buffer), (first, *others) in zip(self._placed.named_buffers(), self._buffers(), strict=True):
            buffer.copy_(first)
            if name.endswith(("running_mean", "running_var")):
                _add(buffer, others)
                buffer.div_(len(self.all))
        self._spread()

    @torch.no_grad()
    def _spread(self) -> None:
        """Give the lanes the network's buffers and weights."""
        for buffer, copies in zip(self._placed.buffers(), self._buffers(), strict=True):
            for other in copies:
                other.copy_(buffer)
        for piece in self._slices:
            piece.rounded.copy_(piece.weights)

    def _buffers(self) -> Iterator[tuple[Tensor, ...]]:
        """Each buffer of the lanes' networks, in the lanes' order."""
        return zip(*(lane.network.buffers() for lane in self.all), strict=True)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """The optimizer's state, flat tensors and counters that do not depend on the slices, and the scaler's."""
        states = [piece.optimizer.state[piece.weights] for piece in self._slices]
        rows = {
            name: torch.cat([state[name] for state in states]) if value.dim() else value
            for name, value in states[0].items()
        }
        return rows, self._scaler.state_dict()

    def load(self, rows: dict[str, Tensor], scaler: dict[str, object]) -> None:
        """Restore a `state`."""
        start = 0
        for piece in self._slices:
            stop = start + len(piece.weights)
            device = piece.weights.device
            counters = device if _counts_on_device(piece.optimizer) else torch.device("cpu")
            piece.optimizer.state[piece.weights] = {
                name: row[start:stop].to(device, copy=True) if row.dim() else row.to(counters, copy=True)
                for name, row in rows.items()
            }
            start = stop
        self._scaler.load_state_dict(scaler)


def _autocast_weights(network: nn.Module) -> set[int]:
    """The identities of the weights that autocast would round: those of convolutions and matrix products."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return {id(weight) for layer in layers for weight in layer.parameters(recurse=False)}


def _slice_size(weights: Tensor) -> int:
    """The number of weights that each thread updates; on a GPU all of them."""
    if weights.device.type != "cpu":
        return len(weights)
    return max(SLICE, -(-len(weights) // cores() // WHOLE) * WHOLE)


def _set_rate(group: dict[str, Any], rate: float) -> None:
    """Set an optimizer's rate; a rate on the GPU in place, where a CUDA graph reads it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _is_fused(optimizer: torch.optim.Optimizer) -> bool:
    return bool(optimizer.defaults.get("fused"))


def _counts_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer counts its steps on the weights' device; the others do on the CPU."""
    return _is_fused(optimizer) or bool(optimizer.defaults.get("capturable"))


def _add(total: Tensor, others: Sequence[Tensor]) -> None:
    """Add the others to the first tensor, in their order."""
    for other in others:
        total += other


def sums(output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum of the cross-entropies of logits, and the number of correct predictions: float32 (2)."""
    return torch.stack([_loss(output, labels, label_smoothing), (output.argmax(1) == labels).sum()])


def _loss(output: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """The sum of the cross-entropies of logits."""
    return functional.cross_entropy(output, labels, label_smoothing=label_smoothing, reduction="sum")
