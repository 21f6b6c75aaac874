"""The leaderboard: every evaluated architecture, with what all networks together say about it."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fashion.data.reading import Labels
from fashion.errors import FashionError, made_by
from fashion.files import read_json, rounded
from fashion.frames import read_csv
from fashion.judging.comparing import LEVEL, above, holm, mcnemar, mean_interval
from fashion.judging.doubtful import COLUMNS, RANK, TABLE, doubtful, judges
from fashion.judging.evaluated import Scores, accuracies, read_all_predictions
from fashion.judging.neighbours import read_near
from fashion.judging.summaries import Ranked
from fashion.settings.params import Params

BOARD = Path("metrics/leaderboard.json")
PartName = Literal["train", "validation", "test", "mirrored_test"]


def ranking(params: Params, found: Mapping[str, Scores]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The rows of the leaderboard, by mean test accuracy, the best first, and the table of doubtful labels.

    found: the current scores of trainings, by name. Raises FashionError if no first training is among them.
    """
    rows = [row(params, key, found) for key in params.models if params.name(key) in found]
    rows.sort(key=lambda one: (-one["seeds"]["test"]["mean"], one["model"]))
    if not rows:
        stage = f"models/dvc.yaml:evaluate@{params.name(params.model)}"
        raise FashionError(f"no architecture is evaluated yet: run dvc repro {stage} first.")
    correct([summary for one in rows for summary in one["seeds"].values()])
    keys = [one["model"] for one in rows]
    truth, by_name = read_all_predictions([params.name(key) for key in keys])
    predicted = dict(zip(keys, by_name.values(), strict=True))
    validation = {one["model"]: one["common_accuracy"] for one in rows}
    chosen = judges(validation, {key: params.models[key].layers for key in keys})
    doubts = doubtful(truth, [predicted[key] for key in chosen])
    same, clean = level(truth, predicted), cleaned(truth, predicted, doubts)
    other = {key: clean[key] | {"judge": key in chosen, "level_with": same[key]} for key in keys}
    return [one | other[one["model"]] for one in rows], doubts


def read_ranking(params: Params, found: Mapping[str, Scores]) -> dict[str, Ranked]:
    """The rows of the leaderboard's file, by architecture; FashionError unless it is the ranking of these scores."""
    with made_by(RANK):
        board, listed = read_json(BOARD, dict[str, Ranked]), read_csv(TABLE, COLUMNS)
    rows, doubts = ranking(params, found)
    same = board == rounded({one["model"]: one for one in rows})
    if not (same and listed.to_numpy().tolist() == doubts.to_numpy().tolist()):
        raise FashionError(f"{BOARD} or {TABLE} is not of the current scores: run dvc repro {RANK} first.")
    return board


def row(params: Params, key: str, found: Mapping[str, Scores]) -> dict[str, Any]:
    """An architecture's scores with the first seed, the summary of all seeds, and the published accuracies."""
    scores, claims = found[params.name(key)], params.claims(key)
    parts: tuple[PartName, ...] = ("validation", "test")
    seeds = {part: over_seeds(by_seed(params, key, found, part)) for part in parts}
    for part, summary in seeds.items():
        claim = claims.get(f"{part}_accuracy")
        summary["p"] = None if claim is None else above(tested(params, key, found, part), claim)
    return {
        "model": key,
        "split": scores["split"],
        "parameters": scores["parameters"],
        "training_flops": scores["training_flops"],
        **accuracies(scores),
        "common_accuracy": scores["common_validation"]["accuracy"],
        "test_interval": scores["test"]["interval"],
        "test_images": scores["test"]["images"],
        "published": claims,
        "seeds": seeds,
    }


def by_seed(params: Params, key: str, found: Mapping[str, Scores], part: PartName) -> list[float]:
    """The accuracies of an architecture's evaluated trainings on one part of the data, in the order of the seeds."""
    return _accuracies(params, key, found, part, params.seeds_of(key))


def tested(params: Params, key: str, found: Mapping[str, Scores], part: PartName) -> list[float]:
    """The same of the seeds that tests use."""
    return _accuracies(params, key, found, part, params.tested_seeds(key))


def _accuracies(params: Params, key: str, found: Mapping[str, Scores], part: PartName, seeds: list[int]) -> list[float]:
    names = (params.name(key, seed) for seed in seeds)
    return [found[name][part]["accuracy"] for name in names if name in found]


def over_seeds(accuracies: list[float]) -> dict[str, Any]:
    """The number of seeds, the mean with its 95 % t interval, and the standard deviation.

    interval is None where the seeds are too few for it, and so is the standard deviation of a single one.
    """
    values, interval = pd.Series(accuracies), mean_interval(accuracies)
    # Six places, as in the file: pages that are made from it would otherwise round different numbers.
    return {
        "seeds": len(values),
        "mean": round(values.mean(), 6),
        "interval": interval and [round(end, 6) for end in interval],
        "deviation": round(values.std(), 6) if len(values) > 1 else None,
    }


def correct(summaries: list[dict[str, Any]]) -> None:
    """Correct the p values of summaries over seeds for the number of all these tests, by Holm's method, in place."""
    tested = [one for one in summaries if one["p"] is not None]
    for one, p in zip(tested, holm([one["p"] for one in tested]), strict=True):
        one["p"] = p


def cleaned(truth: Labels, predicted: Mapping[str, Labels], doubts: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Each architecture's accuracy without near-duplicates, and without doubtful labels."""
    near = read_near(truth)
    clear = ~np.isin(np.arange(len(truth)), doubts["image"])
    right = {key: labels == truth for key, labels in predicted.items()}
    return {
        key: {"distinct_accuracy": one[~near].mean(), "clear_accuracy": one[clear].mean()} for key, one in right.items()
    }


def level(truth: Labels, predicted: Mapping[str, Labels]) -> dict[str, list[str]]:
    """For each architecture, those that do not differ from it significantly.

    McNemar's tests of all pairs on the predicted test labels, with p values corrected by Holm's method.
    """
    keys = [*predicted]
    pairs = list(combinations(keys, 2))
    p_values = holm([mcnemar(truth, predicted[one], predicted[other]).p for one, other in pairs])
    equal = [pair for pair, p in zip(pairs, p_values, strict=True) if p >= LEVEL]
    return {key: [other for other in keys if (key, other) in equal or (other, key) in equal] for key in keys}
