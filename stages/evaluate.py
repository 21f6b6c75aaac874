"""Stage evaluate: what kept weights are worth on each part of the data, and how they came about, for git to keep."""

import io
from pathlib import Path
from typing import Annotated

import typer

# How many of the worst mistakes to note.
MISTAKES = 20


def evaluate(key: Annotated[str, typer.Argument(help="A key of `models`.")]) -> None:
    """Judge an architecture's kept weights, in full precision and without augmentation; note its training's history.

    Example: python -m stages evaluate lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    import numpy as np
    import pandas as pd

    from fashion import scores
    from fashion.costs import flops
    from fashion.files import write_bytes, write_csv, write_json
    from fashion.networks import count, load, summarise
    from fashion.params import Params
    from fashion.predictions import on_each_part

    network, row, header = load(Path(f"models/{key}.safetensors"))
    forward = flops(network)
    parts = {}
    for name, labels, probabilities in on_each_part(network, row, Params.load().gpu):
        parts[name] = labels, probabilities
        typer.echo(f"{key}: {len(labels):,} {name.replace('_', ' ')} images")

    truth, test = parts["test"]
    parameters, total = count(network)
    what = {"model": key, "dataset": header["dataset"], "split": row.split, "epoch": header["epoch"]}
    size = {"parameters": parameters, "total_parameters": total, "flops": forward}
    # Forward and twice as much backward.
    size["training_flops"] = 3 * forward * len(parts["train"][0]) * row.train.epochs
    overall = {name: scores.overall(*part) for name, part in parts.items()}
    details = scores.details(truth, test, header["classes"], MISTAKES)
    layers = {"layers": [layer._asdict() for layer in summarise(row.layers)]}
    write_json(Path(f"metrics/evaluate/{key}.json"), what | size | overall | details | layers)
    table = pd.DataFrame({"truth": truth, "prediction": test.argmax(1)})
    write_csv(Path(f"metrics/predictions/{key}.csv"), table)
    # dvclive keeps a file for each quantity, all with a column `step`.
    files = sorted(Path(f"metrics/train/{key}/plots/metrics").glob("*.tsv"))
    history = pd.concat([pd.read_csv(file, sep="\t", index_col="step") for file in files], axis=1)
    write_csv(Path(f"metrics/history/{key}.csv"), history.rename_axis("epoch").reset_index())
    buffer = io.BytesIO()
    np.save(buffer, test.astype(np.float32))
    write_bytes(Path(f"models/{key}.probabilities.npy"), buffer.getvalue())
