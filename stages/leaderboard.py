"""Stage leaderboard: every evaluated architecture, next to its published accuracies."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fashion.errors import FashionError
from fashion.files import write_bytes, write_csv, write_json, write_text
from fashion.judging.comparing import LEVEL, holm, mcnemar
from fashion.judging.current import current, descriptions, sentence
from fashion.judging.evaluated import Scores, accuracies, read_all_predictions
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.pages import render


def leaderboard() -> None:
    """Write the ranking as JSON, CSV, chart and page."""
    params = Params.load()
    found, left_out = current(descriptions())
    rows = [_row(params, key, found) for key in params.models.keys() & found.keys()]
    if note := sentence(left_out):
        typer.echo(note)
    if not rows:
        raise FashionError("no architecture is evaluated yet: run dvc repro models/dvc.yaml:evaluate@lenet5 first.")
    rows.sort(key=lambda row: (-row["test_accuracy"], row["model"]))
    level = _level([row["model"] for row in rows])
    rows = [row | {"level_with": level[row["model"]]} for row in rows]
    write_json(Path("metrics/leaderboard.json"), {row["model"]: row for row in rows})
    table = _table(rows)
    write_csv(Path("metrics/leaderboard.csv"), table)
    write_bytes(Path("plots/leaderboard.png"), charts.leaderboard(rows))
    page = render(
        "leaderboard.html",
        rows=rows,
        dataset=params.data.dataset,
        left_out=note,
        images=rows[0]["test_images"],
        ranking=charts.ranking(rows),
        by_size=charts.against(rows, "parameters", "trainable parameters"),
        by_cost=charts.against(rows, "training_flops", "operations of the training, FLOP"),
    )
    write_text(Path("plots/leaderboard.html"), page)
    typer.echo(table.to_string(index=False))


def _row(params: Params, key: str, found: dict[str, Scores]) -> dict[str, Any]:
    """An architecture's scores, with the mean over its further seeds and the published accuracies."""
    scores = found[key]
    repeats = [name for name, repeat in params.repeats.items() if repeat.model == key and name in found]
    tests = pd.Series([found[name]["test"]["accuracy"] for name in repeats])
    seeds = {"seeds": len(tests), "mean": tests.mean(), "deviation": tests.std()}
    return {
        "model": key,
        "split": scores["split"],
        "parameters": scores["parameters"],
        "training_flops": scores["training_flops"],
        **accuracies(scores),
        "test_interval": scores["test"]["interval"],
        "test_images": scores["test"]["images"],
        "published": params.claims(key),
        # One seed has no standard deviation.
        "repeats": seeds if len(tests) > 1 else {},
    }


def _level(keys: list[str]) -> dict[str, list[str]]:
    """For each architecture, those that do not differ from it significantly.

    McNemar's tests of all pairs on the predicted test labels, with p values corrected by Holm's method.
    """
    truth, predicted = read_all_predictions(keys)
    pairs = list(combinations(keys, 2))
    p_values = holm([mcnemar(truth, predicted[one], predicted[other]).p for one, other in pairs])
    equal = [pair for pair, p in zip(pairs, p_values, strict=True) if p >= LEVEL]
    return {key: [other for other in keys if (key, other) in equal or (other, key) in equal] for key in keys}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows without nested values."""
    flat = [
        row
        | {
            "test_interval": dict(zip(("low", "high"), row["test_interval"], strict=True)),
            "level_with": " ".join(row["level_with"]),
        }
        for row in rows
    ]
    return pd.json_normalize(flat, sep="_").round(6)
