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
    """Judge weights from any file on the data and the split of params.yaml, as the stage evaluate does.

    On which images they were trained a foreign file does not say.
    Example: python -m tools score models/lenet5.safetensors --model lenet5
    """
    from fashion.tables import show

    parts = _scores(file, model)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "model": model, **parts}, indent=2))
        return
    show([{"part": name, **_words(part)} for name, part in parts.items()])


def _scores(file: Path, key: str) -> dict[str, dict[str, Any]]:
    """Accuracy with its interval, loss and macro F1 on each part of the data."""
    import torch

    from fashion import scores
    from fashion.advice import of_model
    from fashion.data import CLASSES, read_part, read_split
    from fashion.hardware import choose, place
    from fashion.inference import fill, finite_logits, made_by
    from fashion.networks import build
    from fashion.params import Params

    params = Params.load()
    row = params.architecture(key)
    with of_model(key):
        network = build(row.layers)
    fill(network, file, row)
    with made_by(f"split@{row.split}"):
        raw = Path("data/raw")
        training, validation = read_split(Path(f"data/splits/{row.split}.csv"), read_part(raw, "train"))
        parts = {"train": training, "validation": validation, "test": read_part(raw, "test")}
    hardware = choose(**params.gpu.model_dump(exclude={"processes", "precision"}), precision="fp32")
    placed, classes, result = place(network, hardware), CLASSES[params.data.dataset], {}
    for name, part in parts.items():
        output = finite_logits(placed, part.images, row.pixels, hardware.device)
        probabilities = torch.softmax(output.double(), 1).numpy()
        details = scores.details(part.labels, probabilities, classes, mistakes=0)
        result[name] = scores.overall(part.labels, probabilities) | {"macro_f1": details["macro_f1"]}
    return result


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
