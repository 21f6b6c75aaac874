"""Tool score: the scores of a weights file on each part of the data."""

import json
from pathlib import Path
from typing import Any

import typer

from fashion.cli.advice import in_row
from fashion.errors import made_by
from fashion.judging.scores import overall
from fashion.networks.building import build
from fashion.networks.inference import on_each_part
from fashion.settings.params import Params
from fashion.showing.tables import show
from fashion.using.loading import fill


def score(file: Path, model: str, as_json: bool) -> None:
    """Print accuracy with its interval, loss and macro F1 on each part of the data."""
    params = Params.load()
    row = params.architecture(model)
    with in_row(model):
        network = build(row.layers)
    description = params.describe(model)
    fill(network, file, description)
    with made_by("split"):
        judged = on_each_part(network, description, params.gpu.device)
        parts = {name: overall(labels, probabilities) for name, labels, probabilities in judged}
    if as_json:
        typer.echo(json.dumps({"file": str(file), "model": model, **parts}, indent=2))
        return
    show([{"part": name.replace("_", " "), **_words(part)} for name, part in parts.items()])


def _words(part: dict[str, Any]) -> dict[str, str | int]:
    """The scores on one part, as text."""
    low, high = part["interval"]
    return {
        "images": part["images"],
        "accuracy": f"{part['accuracy']:.2%}",
        "95 % interval": f"{low:.2%} to {high:.2%}",
        "loss": f"{part['loss']:.4f}",
        "macro F1": f"{part['macro_f1']:.4f}",
    }
