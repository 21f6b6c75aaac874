"""Weights files: safetensors with a header that describes them, one entry of JSON, and the networks in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from typing_extensions import TypedDict

from fashion.data.datasets import CLASS_COUNT, DATASETS
from fashion.errors import FashionError
from fashion.files import checked
from fashion.networks.building import build, plan
from fashion.settings.description import Description, HardwareRecord, Words

# safetensors writes several entries in random order, which would change the file's hash, so there is only one.
ENTRY = "fashion"


class Header(TypedDict):
    """A file's header.

    description: of the training. classes: their names. torch: its version. epoch: the one whose weights were kept.
    """

    description: dict[str, Any]
    classes: Annotated[list[str], Field(min_length=CLASS_COUNT, max_length=CLASS_COUNT)]
    hardware: HardwareRecord
    torch: Words
    epoch: int


def header(description: Description, hardware: HardwareRecord) -> dict[str, Any]:
    """What is known of a `Header` before the training."""
    return {
        "description": description.content,
        "classes": DATASETS[description.dataset].classes,
        "hardware": hardware,
        "torch": torch.__version__,
    }


def dumps(state: dict[str, Tensor], header: dict[str, Any]) -> bytes:
    """A state dict and its header as the content of a file; equal input gives equal bytes."""
    # safetensors does not accept channels_last strides.
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    # Unsorted: the order of `layers` is the network.
    return save(tensors, {ENTRY: json.dumps(header)})


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state dict and its header; FashionError if the file is missing or not one of this project."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[ENTRY])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 - not a dictionary
    except FileNotFoundError:
        raise FashionError(f"{path} is not here: train it with dvc repro, or fetch it with dvc pull.") from None
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
        raise FashionError(f"{path} is not a weights file of this project ({error}): train it again.") from None


def load(path: Path) -> tuple[nn.Sequential, Description, Header]:
    """The trained network in a file, on the CPU, with its description and the file's whole header.

    Raises FashionError if the file is missing, not one of this project, of another training than its name says, or has
    other classes than its data set or other tensors than its architecture.
    """
    state, content = read(path)
    try:
        header = checked(content, Header)
    except ValueError as error:
        raise FashionError(f"{path} is not a weights file of this project ({error}): train it again.") from None
    try:
        description = Description.model_validate(header["description"])
        if description.name != path.stem:
            raise ValueError(f"it is of {description.name}")
        if tuple(header["classes"]) != DATASETS[description.dataset].classes:
            raise ValueError("its classes are not those of its data set")
        layers = description.architecture.layers
        # First without memory, since a description may state any size.
        if _shapes(state) != _shapes(plan(layers).state_dict()):
            raise ValueError("its layers have other shapes")
        network = build(layers)
        network.load_state_dict(state)
    except (FashionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).split("\n")[0].rstrip(".")[:200]
        raise FashionError(f"{path} contradicts its own description ({first}): train it again.") from None
    return network, description, header


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}
