"""Stage leaderboard: every evaluated architecture beside its published numbers."""

from pathlib import Path

import typer


def leaderboard() -> None:
    """Rank every evaluated architecture and set it beside its published numbers.

    Example: python -m stages leaderboard
    """
    import pandas as pd

    from fashion import FashionError
    from fashion.charts import leaderboard as chart
    from fashion.files import read_json, write_bytes, write_csv, write_json
    from fashion.params import Params

    params = Params.load()
    rows = []
    for scores in map(read_json, Path("metrics/evaluate").glob("*.json")):
        key = scores["model"]
        # Results of rows since deleted, or of another data set, may lie there still.
        if key not in params.models or scores["dataset"] != params.data.dataset:
            continue
        repeated = Path(f"metrics/repeat/{key}.json")
        runs = read_json(repeated) if key in params.repeats and repeated.is_file() else {}
        tests = pd.Series([run["test_accuracy"] for run in runs.values()])
        rows.append(
            {
                "model": key,
                "split": scores["split"],
                "parameters": scores["parameters"],
                **{f"{part}_accuracy": scores[part]["accuracy"] for part in ("train", "validation", "test")},
                "test_interval": scores["test"]["interval"],
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
    write_json(Path("metrics/leaderboard.json"), {row["model"]: row for row in rows})
    table = pd.json_normalize(rows, sep="_").drop(columns="test_interval").round(6)
    table.insert(6, "test_low", [round(row["test_interval"][0], 6) for row in rows])
    table.insert(7, "test_high", [round(row["test_interval"][1], 6) for row in rows])
    write_csv(Path("metrics/leaderboard.csv"), table)
    write_bytes(Path("plots/leaderboard.png"), chart(rows))
    typer.echo(table.to_string(index=False))
