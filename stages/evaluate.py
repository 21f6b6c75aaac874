"""Stage evaluate: what kept weights are worth on each part of the data, and how they came about, for git to keep."""

import io
from pathlib import Path
from typing import Annotated

import typer

# How many of the worst mistakes to note.
MISTAKES = 20


def evaluate(
    name: Annotated[str, typer.Argument(help="A key of `models`, or a key of `repeats`.", metavar="KEY")],
) -> None:
    """Judge a training's kept weights, in full precision and without augmentation; note the training's history.

    Example: python -m stages evaluate lenet5
    """
    from fashion.running import inputs
    from fashion.running.environment import prepare

    prepare(inputs.gpu().kernels)

    import numpy as np
    import pandas as pd

    from fashion import scores
    from fashion.costs import flops
    from fashion.files import write_bytes, write_csv, write_json
    from fashion.networks import count, load, summarise
    from fashion.predictions import on_each_part

    network, description, header = load(Path(f"models/{name}.safetensors"))
    row = description.architecture
    forward = flops(network)
    parts = {}
    for part, labels, probabilities in on_each_part(network, description, inputs.gpu().device):
        parts[part] = labels, probabilities
        typer.echo(f"{name}: {len(labels):,} {part.replace('_', ' ')} images")

    truth, test = parts["test"]
    parameters, total = count(network)
    what = {"model": description.model, "dataset": description.dataset, "split": row.split, "epoch": header["epoch"]}
    what |= {"seed": description.seed, "training": description.identity}
    size = {"parameters": parameters, "total_parameters": total, "flops": forward}
    # Forward and twice as much backward.
    size["training_flops"] = 3 * forward * len(parts["train"][0]) * row.train.epochs
    overall = {part: scores.overall(*judged) for part, judged in parts.items()}
    details = scores.details(truth, test, header["classes"], MISTAKES)
    layers = {"layers": [layer._asdict() for layer in summarise(row.layers)]}
    write_json(Path(f"metrics/evaluate/{name}.json"), what | size | overall | details | layers)
    table = pd.DataFrame({"truth": truth, "prediction": test.argmax(1)})
    write_csv(Path(f"metrics/predictions/{name}.csv"), table)
    # dvclive keeps a file for each quantity, all with a column `step`.
    files = sorted(Path(f"metrics/train/{name}/plots/metrics").glob("*.tsv"))
    # To the last digit, which the tool verify compares.
    columns = [pd.read_csv(file, sep="\t", index_col="step", float_precision="round_trip") for file in files]
    history = pd.concat(columns, axis=1)
    write_csv(Path(f"metrics/history/{name}.csv"), history.rename_axis("epoch").reset_index())
    buffer = io.BytesIO()
    np.save(buffer, test.astype(np.float32))
    write_bytes(Path(f"models/{name}.probabilities.npy"), buffer.getvalue())
