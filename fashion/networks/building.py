"""Networks from rows of params.yaml: layers by name, input sizes inferred."""

import math
from collections import OrderedDict
from collections.abc import Set
from inspect import signature
from typing import Any, Literal, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from fashion.data.datasets import CLASS_COUNT, SIDE
from fashion.errors import FashionError, did_you_mean
from fashion.networks.layers import (
    AvgPool2d,
    CodeDistance,
    Conv2d,
    Conv3x3,
    Dropout,
    Dropout2d,
    LocalResponseNorm,
    PartialConv2d,
    Residual,
    ScaledTanh,
    Subsampling,
)
from fashion.settings.description import Layers

# Every layer that a row may name, and the argument that is inferred from its input.
LAYERS: dict[str, tuple[type[nn.Module], str | None]] = {
    "Conv2d": (Conv2d, "in_channels"),
    "Conv3x3": (Conv3x3, "in_channels"),
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
    "Dropout2d": (Dropout2d, None),
    "ReLU": (nn.ReLU, None),
    "LeakyReLU": (nn.LeakyReLU, None),
    "ELU": (nn.ELU, None),
    "GELU": (nn.GELU, None),
    "SiLU": (nn.SiLU, None),
    "Sigmoid": (nn.Sigmoid, None),
    "Tanh": (nn.Tanh, None),
    "ScaledTanh": (ScaledTanh, None),
    "Residual": (Residual, None),
}
# The dimensions of feature maps: image, channel, row, column.
MAPS = 4


class LayerSummary(NamedTuple):
    """A layer in a table: its name and class, its output's shape for one image, its number of trainable parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def build(layers: Layers, init: Literal["torch", "fan_in_normal"] = "torch", seed: int = 0) -> nn.Sequential:
    """Build a network for images (n, 1, 28, 28) that gives logits (n, 10); its weights are drawn from the seed.

    init: `torch` leaves each layer its default; `fan_in_normal` draws linear weights from N(0, 1/sqrt(fan_in)) and
    zeroes their biases. Raises FashionError, naming the layer, if one is unknown or does not fit its input.
    """
    torch.manual_seed(seed)
    network, x = _chain("layers", layers, _sample())
    if x.shape[1:] != (CLASS_COUNT,):
        raise FashionError(
            f"layers.{[*layers][-1]} has output shape {tuple(x.shape[1:])}; the last must give {CLASS_COUNT} values."
        )
    if init == "fan_in_normal":
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
    return network


def summarise(layers: Layers) -> list[LayerSummary]:
    """Each layer's class, output shape and number of trainable parameters, on the meta device: nothing is computed."""
    with torch.device("meta"):
        network, x = build(layers), _sample()
        rows = []
        for name, module in network.named_children():
            x = _fitting(f"layers.{name}", module, x)
            trainable = sum(weight.numel() for weight in module.parameters())
            rows.append(LayerSummary(name, type(module).__name__, tuple(x.shape[1:]), trainable))
    return rows


def count(network: nn.Module) -> tuple[int, int]:
    """The number of trainable parameters, and the same with batch norm's running means and variances."""
    trainable = sum(weight.numel() for weight in network.parameters())
    running = sum(b.numel() for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var")))
    return trainable, trainable + running


def _sample() -> Tensor:
    """Two images to try layers on, since batch norm needs more than one."""
    return torch.zeros(2, 1, SIDE, SIDE)


def _chain(where: str, layers: Layers, x: Tensor) -> tuple[nn.Sequential, Tensor]:
    """Layers in order, built for the input x, and their output."""
    built: OrderedDict[str, nn.Module] = OrderedDict()
    for name, (kind, arguments) in layers.items():
        inside = f"{where}.{name}"
        if hasattr(nn.Sequential, name):
            raise FashionError(f"{inside}: torch itself uses this name: choose another.")
        if kind not in LAYERS:
            raise FashionError(f"{inside}: there is no layer {kind!r}: {did_you_mean(kind, LAYERS)}")
        make = _residual if kind == "Residual" else _layer
        built[name] = make(inside, kind, arguments, x)
        x = _fitting(inside, built[name], x)
    return nn.Sequential(built), x


def _layer(where: str, kind: str, arguments: dict[str, Any], x: Tensor) -> nn.Module:
    made, inferred = LAYERS[kind]
    # The settings of `gpu` decide the device and the type.
    _refuse_others(where, kind, arguments, signature(made).parameters.keys() - {inferred, "device", "dtype"})
    try:
        return made(**({inferred: x.shape[1]} if inferred else {}), **arguments)
    except Exception as error:  # noqa: BLE001 - a class may raise anything for arguments that it was not written for
        raise FashionError(f"{where}: {kind} does not take {arguments}: {_short(error)}.") from None


def _residual(where: str, kind: str, arguments: dict[str, Any], x: Tensor) -> nn.Module:
    _refuse_others(where, kind, arguments, {"layers", "repeat"})
    repeat = arguments.get("repeat", 1)
    if type(repeat) is not int or repeat < 1:
        raise FashionError(f"{where}: repeat is {repeat!r}: it must be a positive whole number.")
    try:
        layers = TypeAdapter(Layers).validate_python(arguments.get("layers"))
    except ValidationError as error:
        first = error.errors()[0]
        inside = ".".join(str(part) for part in ("layers", *first["loc"]) if part != "[key]")
        raise FashionError(f"{where}.{inside} is {first['input']!r}: {first['msg']}.") from None
    bodies: list[nn.Module] = []
    shortcuts: list[nn.Module] = []
    for _ in range(repeat):
        body, result = _chain(f"{where}.layers", layers, x)
        bodies.append(body)
        shortcuts.append(_shortcut(where, x, result))
        x = result
    return Residual(bodies, shortcuts)


def _shortcut(where: str, x: Tensor, result: Tensor) -> nn.Module:
    """The identity, or a strided 1x1 convolution if the number or the size of the maps changes."""
    if x.shape == result.shape:
        return nn.Identity()
    if x.dim() == result.dim() == MAPS:
        return nn.Conv2d(x.shape[1], result.shape[1], 1, stride=-(-x.shape[2] // result.shape[2]), bias=False)
    shapes = tuple(x.shape[1:]), tuple(result.shape[1:])
    raise FashionError(f"{where}: its layers turn {shapes[0]} into {shapes[1]}, and the two cannot be added.")


def _refuse_others(where: str, kind: str, arguments: dict[str, Any], known: Set[str]) -> None:
    for argument in arguments.keys() - known:
        raise FashionError(f"{where}: {kind} has no argument {argument!r}: {did_you_mean(argument, sorted(known))}")


@torch.no_grad()
def _fitting(where: str, module: nn.Module, x: Tensor) -> Tensor:
    """A layer's output for x; its state stays as it is. FashionError if the layer does not fit."""
    problem = f"{where}: {type(module).__name__} does not fit its input {tuple(x.shape[1:])}"
    try:
        result = module.eval()(x)
        module.train()
    except Exception as error:  # noqa: BLE001 - a layer may raise anything for a shape that it was not written for
        raise FashionError(f"{problem}: {_short(error)}.") from None
    if not isinstance(result, Tensor) or result.shape[:1] != x.shape[:1] or result[0].numel() == 0:
        raise FashionError(f"{problem}: its output would be empty.")
    return result


def _short(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")[:200]
