"""Load trained weights, and those made by others, but only if they are the right ones."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fashion.errors import FashionError
from fashion.files import md5
from fashion.judging.evaluated import read_scores
from fashion.networks import weights
from fashion.settings.description import Description
from fashion.settings.params import stage

# The types in which weights may be stored; smaller ones have no meaning without their scale factors.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def trained(name: str) -> tuple[nn.Sequential, Description, weights.Header]:
    """A training's network, as weights.load gives it.

    Raises FashionError if its weights are missing or damaged, or if its scores are of another file.
    """
    path = Path(f"models/{name}.safetensors")
    if not path.is_file():
        address = stage("train", name)
        raise FashionError(f"{path} is not here: dvc repro {address} trains it, dvc pull {address} fetches it.")
    network, description, header = weights.load(path)
    scores = read_scores(name, description.identity)
    if scores and scores["weights"] != md5(path.read_bytes()):
        raise FashionError(f"{path} is not the file that was evaluated: run dvc repro {stage('evaluate', name)}.")
    return network, description, header


def fill(network: nn.Module, path: Path, description: Description) -> None:
    """Load a file's weights into a network with that description; a file without a description may be loaded too.

    Raises FashionError if the file is missing, not safetensors, or of another architecture, data set or split.
    """
    state, header = _read(path)
    wanted = {"description": description.content}
    if header is not None and _computation(header) != _computation(wanted):
        raise FashionError(
            f"{path} states another data set, split, pixel range or network: name the architecture that it belongs to."
        )
    own = network.state_dict()
    # torch puts these before all names of a network in DataParallel, or compiled.
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in state) and not state.keys() & own.keys():
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    # A count of batches is not used here.
    state |= {name: own[name] for name in own.keys() - state.keys() if name.endswith(".num_batches_tracked")}
    given, needed = _kinds(state), _kinds(own)
    for name in needed | given:
        has, needs = given.get(name, "absent"), needed.get(name, "absent")
        if has != needs:
            raise FashionError(f"{path} is of another architecture: {name!r} is {has}, and must be {needs}.")
    network.load_state_dict(state)


def _read(path: Path) -> tuple[dict[str, Tensor], object]:
    """The tensors of a safetensors file, and its header; None if it has no header of this project."""
    try:
        with safe_open(path, framework="pt") as file:
            if weights.ENTRY not in (file.metadata() or {}):
                return {name: file.get_tensor(name) for name in file.keys()}, None  # noqa: SIM118 - not a dictionary
    except FileNotFoundError:
        raise FashionError(f"{path} is not here.") from None
    except (SafetensorError, OSError) as error:
        raise FashionError(
            f"{path} cannot be read as safetensors ({error}): write its state dict with safetensors.torch.save_file."
        ) from None
    return weights.read(path)


def _computation(header: object) -> str | None:
    """What determines the logits and the held-out images in a description; as text, since layers have an order."""
    match header:
        case {
            "description": {"dataset": dataset, "split": split, "architecture": {"pixels": pixels, "layers": layers}}
        }:
            return json.dumps([dataset, split, pixels, layers])
    return None


def _kinds(state: dict[str, Tensor]) -> dict[str, str]:
    """What each tensor must have in common with the one that it replaces, in words."""
    return {
        name: f"{'float' if tensor.dtype in FLOATS else tensor.dtype} {tuple(tensor.shape)}"
        for name, tensor in state.items()
    }
