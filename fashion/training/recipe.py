"""A recipe's learning rates and optimizers."""

import math

import torch
from torch import nn

from fashion.errors import FashionError
from fashion.settings.description import Train


def steps_per_epoch(images: int, recipe: Train) -> int:
    """The number of whole batches in an epoch; 1, a smaller batch, if there are too few images for one."""
    return max(1, images // recipe.batch_size)


def smallest_share(batch: int, lanes: int) -> int:
    """The number of images in the smallest share of a batch; FashionError if there are fewer images than lanes."""
    if batch < lanes:
        raise FashionError(f"{lanes} lanes cannot share a batch of {batch}: raise train.batch_size.")
    return batch // lanes


def learning_rate(recipe: Train, step: int, steps: int) -> float:
    """The rate of a step, counted from 0: linear warm-up to the highest rate, then the schedule; never zero."""
    warmup = recipe.warmup * steps
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    left = (steps - step) / (steps - warmup)
    shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return recipe.learning_rate * shape[recipe.schedule]


def make_optimizer(weights: list[nn.Parameter], recipe: Train, precision: str) -> torch.optim.Optimizer:
    """The recipe's optimizer, fused (one pass over the weights a step) where torch offers that."""
    decay, graphs = recipe.weight_decay, weights[0].is_cuda
    # A CUDA graph reads the rate, and counts the steps, in the GPU's memory.
    rate = torch.zeros((), device=weights[0].device) if graphs else recipe.learning_rate
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(weights, rate, weight_decay=decay, fused=True, capturable=graphs)
        case "adamw":
            return torch.optim.AdamW(weights, rate, weight_decay=decay, fused=True, capturable=graphs)
        case "nadam":
            return torch.optim.NAdam(weights, rate, weight_decay=decay, foreach=True, capturable=graphs)
        case "sgd":
            # In fp16 the fused form skips a first step that overflows, and then reads momentum from unwritten memory.
            fused = precision != "fp16"
            rate = rate if fused else recipe.learning_rate
            return torch.optim.SGD(weights, rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=fused)
