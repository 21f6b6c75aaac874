"""Weights files: safetensors with one entry of JSON that says what they are."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fashion import FashionError
from fashion.data import CLASSES
from fashion.description import Description
from fashion.hardware import Hardware

# safetensors writes several entries in random order, so the file's hash would change; one entry is stable.
ENTRY = "fashion"


def header(description: Description, hardware: Hardware) -> dict[str, Any]:
    """What a file says of its weights: the training, the classes, and what computed it."""
    return {
        "description": description.model_dump(),
        "classes": CLASSES[description.dataset],
        "hardware": hardware.settings(),
        "torch": torch.__version__,
    }


def dumps(state: dict[str, Tensor], header: dict[str, Any]) -> bytes:
    """A state dict and its description as the content of a file; the same input gives the same bytes."""
    # safetensors takes no channels_last strides.
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    # Unsorted: the order of `layers` is the network.
    return save(tensors, {ENTRY: json.dumps(header)})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state dict and its description; FashionError where the file is missing or none of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[ENTRY])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 - no dictionary
    except FileNotFoundError:
        raise FashionError(f"{path} is not here: train it with dvc repro, or fetch it with dvc pull.") from None
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
        raise FashionError(f"{path} is no weights file of this project ({error}): train it anew.") from None
