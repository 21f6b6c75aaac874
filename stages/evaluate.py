"""Stage evaluate: the scores of the kept weights on each part of the data, and the training's history for git."""

from pathlib import Path

import pandas as pd
import typer

from fashion.files import damaged, md5, write_json
from fashion.frames import read_csv, write_csv
from fashion.judging import scores
from fashion.judging.evaluated import HISTORY
from fashion.networks.building import count, summarise
from fashion.networks.costs import flops
from fashion.networks.inference import on_each_part
from fashion.networks.weights import load
from fashion.settings.params import gpu

# The number of worst mistakes to write.
MISTAKES = 20


def evaluate(name: str) -> None:
    """Write a training's scores, history and predicted labels."""
    file = Path(f"models/{name}.safetensors")
    network, description, header = load(file)
    parameters, total = count(network)
    size = {"parameters": parameters, "total_parameters": total, "flops": flops(network)}
    parts = {}
    for part, labels, probabilities in on_each_part(network, description, gpu().device):
        parts[part] = labels, probabilities
        typer.echo(f"{name}: {len(labels):,} {part.replace('_', ' ')} images")
    row, (truth, test) = description.architecture, parts["test"]
    size["training_flops"] = scores.training_flops(size["flops"], len(parts["train"][0]), row.train.epochs)
    what = {"model": description.model, "dataset": description.dataset, "split": row.split, "epoch": header["epoch"]}
    what |= {"seed": description.seed, "training": description.identity, "weights": md5(file.read_bytes())}
    what |= {"hardware": header["hardware"], "torch": header["torch"]}
    overall = {part: scores.overall(*judged) for part, judged in parts.items()}
    details = scores.details(truth, test, header["classes"], MISTAKES)
    layers = {"layers": [layer._asdict() for layer in summarise(network)]}
    write_json(Path(f"metrics/evaluate/{name}.json"), what | size | overall | details | layers)
    predicted = pd.DataFrame({"truth": truth, "prediction": test.argmax(1)})
    write_csv(Path(f"metrics/predictions/{name}.csv"), predicted)
    write_csv(Path(f"metrics/history/{name}.csv"), _history(name, row.train.epochs))


def _history(name: str, epochs: int) -> pd.DataFrame:
    """A row for each epoch, from dvclive's files; to the last digit, since the tool verify compares them."""
    table = pd.DataFrame({"epoch": range(1, epochs + 1)})
    for figure, kind in [*HISTORY.items()][1:]:
        path = Path(f"metrics/train/{name}/plots/metrics/{figure}.tsv")
        column = read_csv(path, {"step": "int64", figure: kind}, separator="\t")
        if not table["epoch"].equals(column["step"]):
            raise damaged(path, f"its steps are not 1 to {epochs}")
        table[figure] = column[figure]
    return table
