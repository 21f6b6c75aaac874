"""Networks from the rows of params.yaml: layers by name, input sizes inferred."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fashion import FashionError, did_you_mean, weights
from fashion.data import CLASS_COUNT, SIDE
from fashion.layers import (
    AvgPool2d,
    CodeDistance,
    Conv2d,
    Dropout,
    LocalResponseNorm,
    PartialConv2d,
    ScaledTanh,
    Subsampling,
)
from fashion.params import Architecture

# Every layer that a row may name, and the argument that its input decides.
LAYERS: dict[str, tuple[type[nn.Module], str | None]] = {
    "Conv2d": (Conv2d, "in_channels"),
    "PartialConv2d": (PartialConv2d, "in_channels"),
    "Subsampling": (Subsampling, "in_channels"),
    "Linear": (nn.Linear, "in_features"),
    "CodeDistance": (CodeDistance, "in_features"),
    "BatchNorm1d": (nn.BatchNorm1d, "num_features"),
    "BatchNorm2d": (nn.BatchNorm2d, "num_features"),
    "LocalResponseNorm": (LocalResponseNorm, "in_channels"),
    "MaxPool2d": (nn.MaxPool2d, None),
    "AvgPool2d": (AvgPool2d, None),
    "ConstantPad2d": (nn.ConstantPad2d, None),
    "Flatten": (nn.Flatten, None),
    "Dropout": (Dropout, None),
    "Dropout2d": (nn.Dropout2d, None),
    "ReLU": (nn.ReLU, None),
    "LeakyReLU": (nn.LeakyReLU, None),
    "ELU": (nn.ELU, None),
    "GELU": (nn.GELU, None),
    "SiLU": (nn.SiLU, None),
    "Sigmoid": (nn.Sigmoid, None),
    "Tanh": (nn.Tanh, None),
    "ScaledTanh": (ScaledTanh, None),
}


class LayerSummary(NamedTuple):
    """A layer in a table: its name and class, the shape it gives for one image, its trainable parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def build(
    layers: Mapping[str, tuple[str, dict[str, Any]]], init: Literal["torch", "fan_in_normal"] = "torch", seed: int = 0
) -> nn.Sequential:
    """Make a network for images (n, 1, 28, 28) that gives logits (n, 10), its weights drawn from the seed.

    init: torch leaves each layer its default; fan_in_normal draws linear weights from N(0, 1/sqrt(fan_in)) and zeroes
    their biases. Raises FashionError, naming the layer, where one is unknown or does not fit.
    """
    torch.manual_seed(seed)
    built: OrderedDict[str, nn.Module] = OrderedDict()
    x = _sample()
    for name, (kind, arguments) in layers.items():
        built[name] = _layer(name, kind, arguments, x)
        x = _fitting(name, built[name], x)
    if x.shape[1:] != (CLASS_COUNT,):
        raise FashionError(
            f"layers.{name} gives {tuple(x.shape[1:])} values an image; the last must give {CLASS_COUNT}."
        )
    network = nn.Sequential(built)
    if init == "fan_in_normal":
        for layer in network:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
                nn.init.zeros_(layer.bias)
    return network


def load(path: Path) -> tuple[nn.Sequential, Architecture, dict[str, Any]]:
    """The trained network in a weights file, on the CPU, its architecture, and all that the file says of itself.

    Raises FashionError where the file is missing, none of ours, or holds other tensors than its architecture has.
    """
    state, header = weights.load(path)
    try:
        row = Architecture.model_validate(header["architecture"])
        # Without memory first: a description may promise any size.
        with torch.device("meta"):
            promised = build(row.layers).state_dict()
        if _shapes(state) != _shapes(promised):
            raise ValueError("its layers have other shapes")
        network = build(row.layers)
        network.load_state_dict(state)
    except (FashionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FashionError(f"{path} contradicts its own description ({_short(error)}): train it anew.") from None
    return network, row, header


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def summarise(layers: Mapping[str, tuple[str, dict[str, Any]]]) -> list[LayerSummary]:
    """Each layer's class, output shape and trainable parameters, without computing anything."""
    with torch.device("meta"):
        network, x = build(layers), _sample()
        rows = []
        for name, layer in network.named_children():
            x = _fitting(name, layer, x)
            trainable = sum(weight.numel() for weight in layer.parameters())
            rows.append(LayerSummary(name, type(layer).__name__, tuple(x.shape[1:]), trainable))
    return rows


def count(network: nn.Module) -> tuple[int, int]:
    """Trainable parameters, and all: with batch norm's running means and variances."""
    trainable = sum(weight.numel() for weight in network.parameters())
    running = sum(b.numel() for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var")))
    return trainable, trainable + running


def _sample() -> Tensor:
    """What layers are tried on: two images, since batch norm wants more than one."""
    return torch.zeros(2, 1, SIDE, SIDE)


def _layer(name: str, kind: str, arguments: dict[str, Any], x: Tensor) -> nn.Module:
    if hasattr(nn.Sequential, name):
        raise FashionError(f"layers.{name}: torch uses this name itself: choose another.")
    if kind not in LAYERS:
        raise FashionError(f"layers.{name}: there is no layer {kind!r}: {did_you_mean(kind, LAYERS)}")
    layer, inferred = LAYERS[kind]
    # Where and in what type a network computes is the hardware's business.
    known = signature(layer).parameters.keys() - {inferred, "device", "dtype"}
    for argument in arguments.keys() - known:
        raise FashionError(
            f"layers.{name}: {kind} has no argument {argument!r}: {did_you_mean(argument, sorted(known))}"
        )
    try:
        return layer(**({inferred: x.shape[1]} if inferred else {}), **arguments)
    except Exception as error:  # noqa: BLE001 - whatever a class makes of arguments that it was not written for
        raise FashionError(f"layers.{name}: {kind} does not take {arguments}: {_short(error)}.") from None


@torch.no_grad()
def _fitting(name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of x, its state untouched; FashionError where that is nothing to go on with."""
    where = f"layers.{name}: {type(layer).__name__} does not fit on {tuple(x.shape[1:])}, what comes before it gives"
    try:
        result = layer.eval()(x)
        layer.train()
    except Exception as error:  # noqa: BLE001 - whatever a layer makes of a shape that it was not written for
        raise FashionError(f"{where}: {_short(error)}.") from None
    if not isinstance(result, Tensor) or result.shape[:1] != x.shape[:1] or result[0].numel() == 0:
        raise FashionError(f"{where}: nothing would be left of an image.")
    return result


def _short(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")[:200]
