"""Stage leaderboard: every evaluated architecture, next to its published accuracies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fashion.files import write_bytes, write_json, write_text
from fashion.frames import write_csv
from fashion.judging.comparing import LEVEL
from fashion.judging.current import current, descriptions, sentence, trained_on
from fashion.judging.doubtful import TABLE
from fashion.judging.ranking import BOARD, ranking
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.pages import render
from fashion.showing.tables import show


def leaderboard() -> None:
    """Write the ranking as JSON, CSV, chart and page, and the table of doubtful labels."""
    params = Params.load()
    found, left_out = current(descriptions())
    if note := sentence(left_out):
        typer.echo(note)
    rows, doubts = ranking(params, found)
    write_csv(TABLE, doubts)
    write_json(BOARD, {row["model"]: row for row in rows})
    write_csv(Path("metrics/leaderboard.csv"), _table(rows))
    write_bytes(Path("plots/leaderboard.png"), charts.leaderboard(rows))
    page = render(
        "leaderboard.html",
        rows=rows,
        dataset=params.data.dataset,
        left_out=note,
        trained_on=trained_on(found),
        level=LEVEL,
        images=rows[0]["test_images"],
        doubts=len(doubts),
        ranking=charts.ranking(rows),
        by_size=charts.against(rows, "parameters", "trainable parameters"),
        by_cost=charts.against(rows, "training_flops", "operations of the training, FLOP"),
    )
    write_text(Path("plots/leaderboard.html"), page)
    show([_shown(row) for row in rows])


def _shown(row: dict[str, Any]) -> dict[str, str | int]:
    """The columns of a row that the terminal shows: means of the seeds, and the interval of the test's."""
    test, validation = row["seeds"]["test"], row["seeds"]["validation"]
    published = row["published"].get("test_accuracy")
    return {
        "architecture": row["model"],
        "parameters": row["parameters"],
        "seeds": test["seeds"],
        "validation": f"{validation['mean']:.2%}",
        "test": f"{test['mean']:.2%}",
        "95 % interval": " to ".join(f"{end:.2%}" for end in test["interval"] or ()),
        "published": "" if published is None else f"{published:.2%}",
    }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows without nested values."""
    flat = [
        row
        | {
            "test_interval": _ends(row["test_interval"]),
            "seeds": {part: one | {"interval": _ends(one["interval"])} for part, one in row["seeds"].items()},
            "level_with": " ".join(row["level_with"]),
        }
        for row in rows
    ]
    return pd.json_normalize(flat, sep="_").round(6)


def _ends(interval: Sequence[float] | None) -> dict[str, float | None]:
    """An interval, or none, as two columns."""
    return dict(zip(("low", "high"), interval or (None, None), strict=True))
