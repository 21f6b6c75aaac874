"""Stage leaderboard: every evaluated architecture, next to its published accuracies."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fashion.errors import FashionError
from fashion.files import write_bytes, write_csv, write_json, write_text
from fashion.judging.comparing import LEVEL, above, best, doubtful, holm, mcnemar
from fashion.judging.current import current, descriptions, sentence
from fashion.judging.evaluated import Labels, Scores, accuracies, read_all_predictions
from fashion.judging.neighbours import read_near
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.pages import render
from fashion.showing.tables import show


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
    truth, predicted = read_all_predictions([row["model"] for row in rows])
    level = _level(truth, predicted)
    clean = _clean(params, {row["model"]: row["validation_accuracy"] for row in rows}, truth, predicted)
    rows = [row | clean[row["model"]] | {"level_with": level[row["model"]]} for row in rows]
    write_json(Path("metrics/leaderboard.json"), {row["model"]: row for row in rows})
    write_csv(Path("metrics/leaderboard.csv"), _table(rows))
    write_bytes(Path("plots/leaderboard.png"), charts.leaderboard(rows))
    page = render(
        "leaderboard.html",
        rows=rows,
        dataset=params.data.dataset,
        left_out=note,
        level=LEVEL,
        images=rows[0]["test_images"],
        ranking=charts.ranking(rows),
        by_size=charts.against(rows, "parameters", "trainable parameters"),
        by_cost=charts.against(rows, "training_flops", "operations of the training, FLOP"),
    )
    write_text(Path("plots/leaderboard.html"), page)
    show([_shown(row) for row in rows])


def _shown(row: dict[str, Any]) -> dict[str, str | int]:
    """The columns of a row that the terminal shows."""
    low, high = row["test_interval"]
    published = row["published"].get("test_accuracy")
    return {
        "architecture": row["model"],
        "parameters": row["parameters"],
        "validation": f"{row['validation_accuracy']:.2%}",
        "test": f"{row['test_accuracy']:.2%}",
        "95 % interval": f"{low:.2%} to {high:.2%}",
        "published": "" if published is None else f"{published:.2%}",
    }


def _row(params: Params, key: str, found: dict[str, Scores]) -> dict[str, Any]:
    """An architecture's scores, with the mean over its further seeds and the published accuracies."""
    scores, claims = found[key], params.claims(key)
    repeats = [found[name] for name, repeat in params.repeats.items() if repeat.model == key and name in found]
    validation, test = (pd.Series([one[part]["accuracy"] for one in repeats]) for part in ("validation", "test"))
    seeds = {
        "validation": _seeds(validation, claims.get("validation_accuracy")),
        "test": _seeds(test, claims.get("test_accuracy")),
    }
    return {
        "model": key,
        "split": scores["split"],
        "parameters": scores["parameters"],
        "training_flops": scores["training_flops"],
        **accuracies(scores),
        "test_interval": scores["test"]["interval"],
        "test_images": scores["test"]["images"],
        "published": claims,
        # One seed has no standard deviation.
        "repeats": seeds if len(repeats) > 1 else {},
    }


def _seeds(accuracies: "pd.Series[float]", claim: float | None) -> dict[str, Any]:
    """The mean and deviation of the repeats, and the test that the mean is above the published accuracy."""
    p = above([*accuracies], claim) if claim is not None and len(accuracies) > 1 else None
    # Six places, as in the file: pages that are made from it would otherwise round different numbers.
    mean, deviation = round(accuracies.mean(), 6), round(accuracies.std(), 6)
    return {"seeds": len(accuracies), "mean": mean, "deviation": deviation, "p": p}


def _clean(
    params: Params, validation: dict[str, float], truth: Labels, predicted: dict[str, Labels]
) -> dict[str, dict[str, float]]:
    """Each architecture's accuracy without near-duplicates, and without the labels that the best others doubt."""
    near, layers = read_near(truth), {key: str(row.layers) for key, row in params.models.items()}
    ranked, found = best(validation, layers), {}
    for key, labels in predicted.items():
        right = labels == truth
        judges = [predicted[other] for other in ranked if layers[other] != layers[key]]
        clear = ~doubtful(truth, judges)
        found[key] = {"distinct_accuracy": right[~near].mean(), "clear_accuracy": right[clear].mean()}
    return found


def _level(truth: Labels, predicted: dict[str, Labels]) -> dict[str, list[str]]:
    """For each architecture, those that do not differ from it significantly.

    McNemar's tests of all pairs on the predicted test labels, with p values corrected by Holm's method.
    """
    keys = [*predicted]
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
