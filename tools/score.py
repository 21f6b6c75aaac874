"""Tool score: what any weights of an architecture are worth."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def score(
    file: Annotated[
        Path, typer.Argument(help="Weights as safetensors: ours, or tensors of the same names and shapes.")
    ],
    model: Annotated[str, typer.Option(help="The key of `models` whose architecture they are of.")],
    as_json: Annotated[bool, typer.Option("--json", help="An object instead of a table.")] = False,
) -> None:
    """Judge a file of weights on the data and the split of params.yaml, as the stage evaluate does.

    A foreign file does not say which images it was trained on: on those its scores flatter.
    Example: python -m tools score models/lenet5.safetensors --model lenet5
    """
    from fashion.params import Params
    from fashion.running.environment import use
    from fashion.tables import show

    use(Params.load().gpu.kernels)
    parts = _scores(file, model)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "model": model, **parts}, indent=2))
        return
    show([{"part": name.replace("_", " "), **_words(part)} for name, part in parts.items()])


def _scores(file: Path, key: str) -> dict[str, dict[str, Any]]:
    """Accuracy with its interval, loss and macro F1 on each part of the data."""
    from fashion.advice import of_model
    from fashion.inference import fill, made_by
    from fashion.networks import build
    from fashion.params import Params
    from fashion.predictions import on_each_part
    from fashion.scores import overall

    params = Params.load()
    row = params.architecture(key)
    with of_model(key):
        network = build(row.layers)
    description = params.describe(key)
    fill(network, file, description)
    with made_by("split"):
        return {
            name: overall(labels, found)
            for name, labels, found in on_each_part(network, description, params.gpu.device)
        }


def _words(part: dict[str, Any]) -> dict[str, str | int]:
    """The scores on one part, for people."""
    low, high = part["interval"]
    return {
        "images": part["images"],
        "accuracy": f"{part['accuracy']:.2%}",
        "95 % interval": f"{low:.2%} to {high:.2%}",
        "loss": f"{part['loss']:.4f}",
        "macro F1": f"{part['macro_f1']:.4f}",
    }
