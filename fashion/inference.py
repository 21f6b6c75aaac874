"""Weights put to use beside the pipeline: of other people's files too, and believed only where they fit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fashion import FashionError, weights
from fashion.data import CLASS_COUNT
from fashion.description import Description
from fashion.params import Params

# What weights may be stored as; smaller types mean nothing without the factors that belong to them.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@contextmanager
def made_by(stage: str) -> Iterator[None]:
    """Say which stage makes a file that what runs inside does not find."""
    try:
        yield
    except FileNotFoundError as error:
        raise FashionError(f"{error.filename} is not here: dvc repro {stage} makes it.") from None


def class_names(header: dict[str, Any], path: Path) -> list[str]:
    """What a weights file calls the classes; FashionError where it does not name all ten."""
    names = header.get("classes")
    if not isinstance(names, list) or len(names) != CLASS_COUNT or not all(isinstance(name, str) for name in names):
        raise FashionError(f"{path} does not name its {CLASS_COUNT} classes: train it anew.")
    return names


def trained(key: str) -> Path:
    """The file of an architecture's weights; FashionError, with how to get them, where it is not here."""
    path = Path(f"models/{key}.safetensors")
    if not path.is_file():
        # An unknown name is told as such.
        Params.load().architecture(key)
        stage = f"models/dvc.yaml:train@{key}"
        raise FashionError(f"{path} is not here: dvc repro {stage} trains it, dvc pull {stage} fetches it.")
    return path


def fill(network: nn.Module, path: Path, description: Description) -> None:
    """Give a network of that description the weights in a file: one of ours, or one that just holds the tensors.

    Raises FashionError where the file is missing, no safetensors, or of another architecture, data set or split.
    """
    state, header = _read(path)
    wanted = {"description": description.model_dump()}
    if header is not None and _computation(header) != _computation(wanted):
        raise FashionError(
            f"{path} says of itself that its data set, split, pixels or layers are others: name its own architecture."
        )
    given, needed = _kinds(state), _kinds(network.state_dict())
    for name in needed | given:
        has, needs = given.get(name, "absent"), needed.get(name, "absent")
        if has != needs:
            raise FashionError(f"{path} is of another architecture: {name!r} is {has} and must be {needs}.")
    network.load_state_dict(state)


def _read(path: Path) -> tuple[dict[str, Tensor], object]:
    """The tensors of a safetensors file and what it says of itself, None where that is nothing."""
    try:
        with safe_open(path, framework="pt") as file:
            if weights.ENTRY not in (file.metadata() or {}):
                return {name: file.get_tensor(name) for name in file.keys()}, None  # noqa: SIM118 - no dictionary
    except FileNotFoundError:
        raise FashionError(f"{path} is not here.") from None
    except (SafetensorError, OSError) as error:
        raise FashionError(
            f"{path} cannot be read as safetensors ({error}): safetensors.torch.save_file writes a state dict so."
        ) from None
    return weights.load(path)


def _computation(header: object) -> str | None:
    """What of a description decides the logits, and which images are held out; as text: the order of layers matters."""
    match header:
        case {
            "description": {"dataset": dataset, "split": split, "architecture": {"pixels": pixels, "layers": layers}}
        }:
            return json.dumps([dataset, split, pixels, layers])
    return None


def _kinds(state: dict[str, Tensor]) -> dict[str, str]:
    """What each tensor must have in common with the one whose place it takes, in words."""
    return {
        name: f"{'float' if tensor.dtype in FLOATS else tensor.dtype} {tuple(tensor.shape)}"
        for name, tensor in state.items()
    }
