"""Stage leaderboard: every evaluated architecture beside its published numbers."""

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fashion.params import Params


def leaderboard() -> None:
    """Rank every evaluated architecture and set it beside its published numbers.

    Example: python -m stages leaderboard
    """
    import pandas as pd

    from fashion import FashionError, charts
    from fashion.files import read_json, write_bytes, write_csv, write_json, write_text
    from fashion.page import render
    from fashion.params import Params

    params = Params.load()
    rows = []
    for scores in map(read_json, Path("metrics/evaluate").glob("*.json")):
        key = scores["model"]
        # Results of rows since deleted, or of another data set, may lie there still.
        if key not in params.models or scores["dataset"] != params.data.dataset:
            continue
        tests = pd.Series(_repeated(params, key))
        rows.append(
            {
                "model": key,
                "split": scores["split"],
                "parameters": scores["parameters"],
                "training_flops": scores["training_flops"],
                **{f"{part}_accuracy": scores[part]["accuracy"] for part in ("train", "validation", "test")},
                "test_interval": scores["test"]["interval"],
                "test_images": scores["test"]["images"],
                "published": params.claims(key),
                # With one seed there is no deviation.
                "repeats": {"seeds": len(tests), "mean": tests.mean(), "deviation": tests.std()}
                if len(tests) > 1
                else {},
            }
        )
    if not rows:
        raise FashionError("no architecture is evaluated yet: run dvc repro models/dvc.yaml:evaluate@lenet5 first.")
    rows.sort(key=lambda row: (-row["test_accuracy"], row["model"]))
    level = _level([row["model"] for row in rows])
    rows = [row | {"level_with": level[row["model"]]} for row in rows]
    write_json(Path("metrics/leaderboard.json"), {row["model"]: row for row in rows})
    flat = [
        row
        | {
            "test_interval": dict(zip(("low", "high"), row["test_interval"], strict=True)),
            "level_with": " ".join(row["level_with"]),
        }
        for row in rows
    ]
    table = pd.json_normalize(flat, sep="_").round(6)
    write_csv(Path("metrics/leaderboard.csv"), table)
    write_bytes(Path("plots/leaderboard.png"), charts.leaderboard(rows))
    page = render(
        "leaderboard.html",
        rows=rows,
        dataset=params.data.dataset,
        images=rows[0]["test_images"],
        ranking=charts.ranking(rows),
        by_size=charts.against(rows, "parameters", "trainable parameters"),
        by_cost=charts.against(rows, "training_flops", "operations of the training, FLOP"),
    )
    write_text(Path("plots/leaderboard.html"), page)
    typer.echo(table.to_string(index=False))


def _repeated(params: "Params", key: str) -> list[float]:
    """Test accuracies under further seeds, where they are of this data set and of what the architecture is now."""
    from fashion.files import read_json

    path = Path(f"metrics/repeat/{key}.json")
    if key not in params.repeats or not path.is_file():
        return []
    found = read_json(path)
    if found["dataset"] != params.data.dataset or found["architecture"] != params.models[key].model_dump(mode="json"):
        return []
    return [run["test_accuracy"] for run in found["seeds"].values()]


def _level(keys: list[str]) -> dict[str, list[str]]:
    """For each architecture those whose difference from it is no more than the test images' chance.

    McNemar's tests of all pairs on the predicted labels, corrected after Holm.
    """
    import pandas as pd

    from fashion.significance import LEVEL, holm, mcnemar

    tables = {key: pd.read_csv(f"metrics/predictions/{key}.csv") for key in keys}
    truth = tables[keys[0]]["truth"].to_numpy()
    predicted = {key: table["prediction"].to_numpy() for key, table in tables.items()}
    pairs = list(combinations(keys, 2))
    p_values = holm([mcnemar(truth, predicted[one], predicted[other]).p for one, other in pairs])
    equal = [pair for pair, p in zip(pairs, p_values, strict=True) if p >= LEVEL]
    return {key: [other for other in keys if (key, other) in equal or (other, key) in equal] for key in keys}
