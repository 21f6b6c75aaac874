"""Networks from rows of params.yaml: layers by name, input sizes inferred."""

import json
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, NamedTuple, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import Tensor, nn
from torch.func import functional_call

from fashion.data.datasets import CLASS_COUNT, SIDE
from fashion.errors import FashionError, did_you_mean
from fashion.networks.layers import (
    MAPS,
    CodeDistance,
    Conv2d,
    Conv3x3,
    Dropout,
    Dropout2d,
    Linear,
    LocalResponseNorm,
    PartialConv2d,
    Residual,
    ScaledTanh,
    Separable3x3,
    Subsampling,
)
from fashion.settings.description import Init, Layers

# Every layer that a row may name, and the argument that is inferred from its input.
LAYERS: dict[str, tuple[type[nn.Module], str | None]] = {
    "Conv2d": (Conv2d, "in_channels"),
    "Conv3x3": (Conv3x3, "in_channels"),
    "Separable3x3": (Separable3x3, "in_channels"),
    "PartialConv2d": (PartialConv2d, "in_channels"),
    "Subsampling": (Subsampling, "in_channels"),
    "Linear": (Linear, "in_features"),
    "CodeDistance": (CodeDistance, "in_features"),
    "BatchNorm1d": (nn.BatchNorm1d, "num_features"),
    "BatchNorm2d": (nn.BatchNorm2d, "num_features"),
    "LocalResponseNorm": (LocalResponseNorm, "in_channels"),
    "MaxPool2d": (nn.MaxPool2d, None),
    "AvgPool2d": (nn.AvgPool2d, None),
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
# For each `init` the layers whose weights are drawn from N(0, sqrt(gain / fan_in)) and whose biases are zero, and the
# gain; other layers keep torch's. he_normal: He, Zhang, Ren and Sun 2015, arXiv 1502.01852, section 2.2. With it the
# activations of layers with ReLU keep their variance; with torch's own they lose five sixths of it in every layer.
INITS: dict[Init, tuple[tuple[type[nn.Conv2d | nn.Linear], ...], float]] = {
    "torch": ((), 0),
    "fan_in_normal": ((nn.Linear,), 1),
    "he_normal": ((nn.Conv2d, nn.Linear), 2),
}
# Arguments that are not settings: `gpu` decides the device and the type, a layer that works in place would overwrite
# the input that a residual block adds, and the first dimension is always that of the images.
NOT_SETTABLE = {"device", "dtype", "inplace", "start_dim"}
# A network of more values, or a layer with more for one image, takes over 4 GB in fp32.
MOST_VALUES = 10**9
# Layers, those of residual blocks counted as often as they are repeated.
MOST_LAYERS = 1000
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Blocks(BaseModel):
    """The arguments of Residual in settings: the layers of one block, and the number of blocks."""

    model_config = STRICT

    layers: Layers
    repeat: Annotated[int, Field(ge=1)] = 1


class LayerSummary(NamedTuple):
    """A layer in a table: its name and class, its output's shape for one image, its number of trainable parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def plan(layers: Layers) -> nn.Sequential:
    """The network for images (n, 1, 28, 28) that gives logits (n, 10), on the meta device: its weights take no memory.

    Raises FashionError, naming the layer, if one is unknown or does not fit its input.
    """
    with torch.device("meta"):
        network, x = _whole(layers)
    _check_size("layers", "the network", network)
    if x.shape[1:] != (CLASS_COUNT,):
        raise FashionError(
            f"layers.{[*layers][-1]} has output shape {tuple(x.shape[1:])}; the last must give {CLASS_COUNT} values."
        )
    return network


def build(layers: Layers, init: Init = "torch", seed: int = 0) -> nn.Sequential:
    """Build the network of `plan` on the CPU, with weights drawn from the seed; init: a key of INITS."""
    # First without memory, since settings may state any size.
    plan(layers)
    torch.manual_seed(seed)
    network, _ = _whole(layers)
    kinds, gain = INITS[init]
    for module in network.modules():
        if isinstance(module, kinds):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(gain / fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def summarise(network: nn.Sequential) -> list[LayerSummary]:
    """Each layer's class, output shape and number of trainable parameters."""
    rows, x = [], _images(0)
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


def check_training(network: nn.Sequential, images: int) -> None:
    """Raise FashionError, naming the layer, unless the network trains on that many images at once."""
    if not [*network.parameters()]:
        raise FashionError("layers: no layer has weights to train.")
    # Only batch norm depends on the number, and two images are enough for it.
    if images > 1:
        return
    x = _images(1)
    for name, module in network.named_children():
        try:
            x = _output(module.train(), x)
        except Exception as error:  # noqa: BLE001 - a layer may raise anything for an image that it cannot use
            problem = f"{type(module).__name__} cannot train on one image at a time"
            raise FashionError(f"layers.{name}: {problem}: {_short(error)}.") from None


def _images(number: int) -> Tensor:
    """Images to try layers on. A layer's output for none has a shape, and takes neither time nor memory."""
    return torch.zeros(number, 1, SIDE, SIDE, device="cpu")


def _output(module: nn.Module, x: Tensor) -> Any:
    """A layer's output for x, on the CPU, with arbitrary weights in place of its own: only the shape matters.

    So the layer may be on the meta device. What computes shapes there takes torch two seconds to load.
    """
    memory = {
        # Integers are indices, which must exist.
        name: (torch.empty if one.is_floating_point() else torch.zeros)(one.shape, dtype=one.dtype, device="cpu")
        for name, one in (*module.named_parameters(), *module.named_buffers())
    }
    return functional_call(module, memory, (x,))


def _check_size(where: str, what: str, module: nn.Module) -> None:
    """Raise FashionError if a module is too large."""
    if (values := sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))) > MOST_VALUES:
        raise FashionError(f"{where}: {what} has {values:,} weights and buffers: at most {MOST_VALUES:,} fit.")


def _whole(layers: Layers) -> tuple[nn.Sequential, Tensor]:
    """The network and its output for no image."""
    return _chain("layers", layers, _images(0), iter(range(MOST_LAYERS)))


def _chain(where: str, layers: Layers, x: Tensor, left: Iterator[int]) -> tuple[nn.Sequential, Tensor]:
    """Layers in order, built for the input x, and their output. left: has an item for each layer that may follow."""
    built: OrderedDict[str, nn.Module] = OrderedDict()
    for name, (kind, arguments) in layers.items():
        inside = f"{where}.{name}"
        if hasattr(nn.Sequential(), name):
            raise FashionError(f"{inside}: torch itself uses this name: choose another.")
        if kind not in LAYERS:
            raise FashionError(f"{inside}: there is no layer {kind!r}: {did_you_mean(kind, LAYERS)}")
        if next(left, None) is None:
            raise FashionError(f"{inside}: the network has more than {MOST_LAYERS:,} layers, repeated ones included.")
        given = _validated(inside, kind, arguments)
        built[name] = _residual(inside, given, x, left) if isinstance(given, Blocks) else _layer(inside, kind, given, x)
        x = _fitting(inside, built[name], x)
    return nn.Sequential(built), x


def _validated(where: str, kind: str, arguments: dict[str, Any]) -> BaseModel:
    """A layer's arguments, in the types that its class documents; FashionError for the first that has another."""
    made, inferred = LAYERS[kind]
    model = _arguments(made, inferred)  # type: ignore[arg-type] # a class is hashable
    try:
        # As JSON, in which a list may stand for a tuple, and all else must have its exact type.
        return model.model_validate_json(json.dumps(arguments))
    except ValidationError as error:
        errors = error.errors()
    # An unknown argument before a missing one: a misspelt name causes both.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    # pydantic appends the types that it tried to an argument's name; only the layers of a block have names inside.
    names = [str(part) for part in first["loc"][: None if model is Blocks else 1] if part != "[key]"]
    match first["type"]:
        case "extra_forbidden" if not model.model_fields:
            problem = f": {kind} takes no arguments, and {names[0]!r} is one."
        case "extra_forbidden":
            problem = f": {kind} has no argument {names[0]!r}: {did_you_mean(names[0], sorted(model.model_fields))}"
        case "missing":
            problem = f": {kind} needs the argument {names[0]!r}."
        case _:
            problem = f".{'.'.join(names)} is {first['input']!r}: {first['msg'].replace('Input should', 'it must')}."
    raise FashionError(f"{where}{problem}")


@cache
def _arguments(made: type[nn.Module], inferred: str | None) -> type[BaseModel]:
    """The arguments that settings may give a layer, as types: those of its constructor without the inferred one."""
    if made is Residual:
        return Blocks
    types = get_type_hints(made.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (types[name], ... if parameter.default is Parameter.empty else parameter.default)
        for name, parameter in signature(made).parameters.items()
        # Activations without arguments have the *args and **kwargs of torch.nn.Module.
        if name not in {inferred, *NOT_SETTABLE, "args", "kwargs"}
    }
    return create_model(made.__name__, __config__=STRICT, **fields)


def _layer(where: str, kind: str, given: BaseModel, x: Tensor) -> nn.Module:
    made, inferred = LAYERS[kind]
    arguments = {name: getattr(given, name) for name in given.model_fields_set}
    try:
        with warnings.catch_warnings(action="error"):  # torch only warns of a layer without weights
            return made(**({inferred: x.shape[1]} if inferred else {}), **arguments)
    except Exception as error:  # noqa: BLE001 - a class may raise anything for arguments that it was not written for
        raise FashionError(f"{where}: {kind} does not take {arguments}: {_short(error)}.") from None


def _residual(where: str, given: Blocks, x: Tensor, left: Iterator[int]) -> nn.Module:
    bodies: list[nn.Module] = []
    shortcuts: list[nn.Module] = []
    for _ in range(given.repeat):
        body, result = _chain(f"{where}.layers", given.layers, x, left)
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


@torch.no_grad()
def _fitting(where: str, module: nn.Module, x: Tensor) -> Tensor:
    """A layer's output for x, which has no images. FashionError if the layer does not fit, or is too large."""
    _check_size(where, type(module).__name__, module)
    problem = f"{where}: {type(module).__name__} does not fit its input {tuple(x.shape[1:])}"
    try:
        result = _output(module.eval(), x)
        module.train()
    except Exception as error:  # noqa: BLE001 - a layer may raise anything for a shape that it was not written for
        raise FashionError(f"{problem}: {_short(error)}.") from None
    if not isinstance(result, Tensor) or result.shape[:1] != x.shape[:1] or not result.shape[1:].numel():
        raise FashionError(f"{problem}: its output would be empty, or not one of each image.")
    if (values := result.shape[1:].numel()) > MOST_VALUES:
        raise FashionError(f"{problem}: its output would have {values:,} values for one image.")
    return result


def _short(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")[:200]
