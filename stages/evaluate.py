"""Stage evaluate: what kept weights are worth on each part of the data; the only reader of test labels."""

from pathlib import Path
from typing import Annotated

import typer

# How many of the worst mistakes to note.
MISTAKES = 20


def evaluate(key: Annotated[str, typer.Argument(help="A key of `models`.")]) -> None:
    """Judge an architecture's kept weights, in full precision and without augmentation.

    Example: python -m stages evaluate lenet5
    """
    import io

    import numpy as np
    import pandas as pd
    import torch

    from fashion import scores
    from fashion.data import read_part, read_split
    from fashion.files import write_bytes, write_json, write_text
    from fashion.hardware import choose
    from fashion.images import logits
    from fashion.networks import count, load
    from fashion.params import Architecture, Params

    params = Params.load()
    network, header = load(Path(f"models/{key}.safetensors"))
    row = Architecture.model_validate(header["architecture"])
    # In full precision on every machine, however the weights were made.
    hardware = choose(**params.gpu.model_dump(exclude={"processes", "precision"}), precision="fp32")
    network.to(hardware.device)
    raw = Path("data/raw")
    training, validation = read_split(Path(f"data/splits/{row.split}.csv"), read_part(raw, "train"))
    parts = {"train": training, "validation": validation, "test": read_part(raw, "test")}
    probabilities = {}
    for name, part in parts.items():
        images = torch.tensor(part.images, device=hardware.device)
        output = logits(network, images, row.pixels.black, row.pixels.white)
        probabilities[name] = torch.softmax(output.cpu().double(), 1).numpy()
        typer.echo(f"{key}: {len(images):,} {name} images")

    truth, test = parts["test"].labels, probabilities["test"]
    predictions = test.argmax(1)
    classes = scores.per_class(truth, predictions, header["classes"])
    bins = scores.calibration(truth, test)
    parameters, total = count(network)
    write_json(
        Path(f"metrics/evaluate/{key}.json"),
        {
            "model": key,
            "dataset": header["dataset"],
            "split": row.split,
            "parameters": parameters,
            "total_parameters": total,
            "epoch": header["epoch"],
            **{name: scores.accuracy(part.labels, probabilities[name]) for name, part in parts.items()},
            "macro_f1": sum(entry["f1"] for entry in classes) / len(classes),
            "calibration_error": scores.expected_calibration_error(bins),
            "classes": classes,
            "calibration": bins,
            "mistakes": scores.worst_mistakes(truth, test, MISTAKES),
        },
    )
    table = pd.DataFrame({"truth": truth, "prediction": predictions})
    write_text(Path(f"metrics/predictions/{key}.csv"), table.to_csv(index=False, lineterminator="\n"))
    buffer = io.BytesIO()
    np.save(buffer, test.astype(np.float32))
    write_bytes(Path(f"models/{key}.probabilities.npy"), buffer.getvalue())
