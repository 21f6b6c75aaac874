"""Tool models: what architectures there are, and of what they are made."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fashion.params import Params


def models(
    key: Annotated[str | None, typer.Argument(help="A key of `models`, for its layers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects instead of a table.")] = False,
) -> None:
    """List the architectures with their parameters, splits and published numbers, or one with its layers.

    Example: python -m tools models lenet5
    """
    from fashion.params import Params
    from fashion.tables import show

    params = Params.load()
    rows = _layers(params, key) if key else _architectures(params)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    show(rows if key else [_flat(row) for row in rows])
    if key:
        typer.echo(f"{sum(row['parameters'] for row in rows):,} trainable parameters")


def _architectures(params: "Params") -> list[dict[str, Any]]:
    import torch

    from fashion.advice import of_model
    from fashion.networks import build, count

    rows = []
    for key, row in params.models.items():
        with torch.device("meta"), of_model(key):
            parameters, total = count(build(row.layers))
        claim = params.published.get(key)
        published = claim.model_dump(exclude_none=True) if claim else {}
        sizes = {"key": key, "parameters": parameters, "total_parameters": total}
        rows.append({**sizes, "split": row.split, "published": published})
    return rows


def _layers(params: "Params", key: str) -> list[dict[str, Any]]:
    from fashion.advice import of_model
    from fashion.networks import summarise

    row = params.architecture(key)
    with of_model(key):
        layers = summarise(row.layers)
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
    """A row with its published accuracies as text and their source beside it."""
    claim = row["published"]
    accuracies = [
        f"{name.removesuffix('_accuracy')} {x:.2%}" for name, x in claim.items() if name.endswith("_accuracy")
    ]
    return row | {"published": ", ".join(accuracies), "source": claim.get("source", "")}
