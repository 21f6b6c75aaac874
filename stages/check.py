"""Stage check: validate all settings before any other stage runs on them."""

import json
import shutil
from pathlib import Path

import torch

from fashion.errors import FashionError
from fashion.files import write_text
from fashion.networks.building import build, check_training, count
from fashion.running.advice import in_row
from fashion.settings.description import INPUTS
from fashion.settings.fingerprint import fingerprint
from fashion.settings.params import PATH, UNDO, Class, Params
from fashion.training.recipe import smallest_share


def check() -> None:
    """Validate params.yaml and write data/inputs, whose files change only if a stage's results can change."""
    params, parameters = Params.load(), dict[str, int]()
    for key, row in params.models.items():
        # On the meta device tensors have shapes but no content: all architectures together take milliseconds.
        with torch.device("meta"), in_row(key):
            network = build(row.layers, row.init)
            check_training(network, smallest_share(row.train.batch_size, params.gpu.lanes))
            parameters[key], _ = count(network)
    for key, one in params.classes.items():
        _check_class(f"classes.{key}", one, params.models[one.model].train.epochs, parameters[one.model])
    files = {f"train/{name}.json": params.describe(name).text for name in (*params.models, *params.repeats)}
    splits = {key: params.splits[row.split].model_dump() for key, row in params.models.items()}
    files["splits.json"] = json.dumps(splits, indent=2) + "\n"
    # The fingerprint of `train` is in each description.
    for stage in {path.stem for path in Path(__file__).parent.glob("[!_]*.py")} - {"check", "train"}:
        files[f"code/{stage}.txt"] = f"{fingerprint(stage)}\n"
    # Files of deleted rows must go too; when DVC runs this stage, it deletes the outputs first.
    shutil.rmtree(INPUTS, ignore_errors=True)
    for name, text in files.items():
        write_text(INPUTS / name, text)


def _check_class(where: str, one: Class, epochs: int, parameters: int) -> None:
    """Raise FashionError if a class's architecture uses more than the class allows."""
    if one.epochs and epochs > one.epochs:
        raise FashionError(f"{PATH}: {where} allows {one.epochs} epochs, and {one.model} takes {epochs}. {UNDO}")
    if one.parameters and parameters >= one.parameters:
        limit = f"allows fewer than {one.parameters:,} parameters"
        raise FashionError(f"{PATH}: {where} {limit}, and {one.model} has {parameters:,}. {UNDO}")
