"""Tool models: the architectures, their layers and the stages that train them."""

import json
from typing import Any

import typer

from fashion.cli.advice import in_row
from fashion.judging.scores import training_flops
from fashion.networks.building import build, count, plan, summarise
from fashion.networks.costs import flops
from fashion.settings.params import Params, stage
from fashion.showing.tables import show


def models(key: str | None, as_json: bool) -> None:
    """Print all architectures, or the layers of one."""
    params = Params.load()
    rows = _layers(params, key) if key else _architectures(params)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    show(rows if key else [_flat(row) for row in rows])
    if key:
        typer.echo(f"{sum(row['parameters'] for row in rows):,} trainable parameters")


def trainings(key: str | None) -> None:
    """Print the stages that build all trainings, or those of one architecture: by their operations, the most first."""
    params = Params.load()
    costs: dict[str, int] = {}
    for model, row in params.models.items() if key is None else [(key, params.architecture(key))]:
        with in_row(model):
            cost = training_flops(flops(build(row.layers)), params.splits[row.split].train, row.train.epochs)
        costs |= {params.name(model, seed): cost for seed in params.seeds_of(model)}
    for name in sorted(costs, key=costs.__getitem__, reverse=True):
        typer.echo(stage("evaluate", name).partition(":")[2])


def _architectures(params: Params) -> list[dict[str, Any]]:
    rows = []
    for key, row in params.models.items():
        with in_row(key):
            parameters, total = count(plan(row.layers))
        claim = params.published.get(key) if params.claims(key) else None
        published = claim.model_dump(exclude_none=True) if claim else {}
        sizes = {"key": key, "parameters": parameters, "total_parameters": total}
        rows.append({**sizes, "split": row.split, "published": published})
    return rows


def _layers(params: Params, key: str) -> list[dict[str, Any]]:
    row = params.architecture(key)
    with in_row(key):
        layers = summarise(plan(row.layers))
    return [
        {
            "layer": layer.name,
            "class": layer.kind,
            "output": "x".join(map(str, layer.shape)),
            "parameters": layer.parameters,
        }
        for layer in layers
    ]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its published accuracies as text, and their source in a column of its own."""
    claim = row["published"]
    accuracies = [
        f"{name.removesuffix('_accuracy')} {value:.2%}" for name, value in claim.items() if name.endswith("_accuracy")
    ]
    return row | {"published": ", ".join(accuracies), "source": claim.get("source", "")}
