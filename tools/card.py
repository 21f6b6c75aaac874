"""Tool card: a model card in the format that model hubs read."""

from pathlib import Path

import typer

from fashion.errors import FashionError, printable
from fashion.files import read_json, write_text
from fashion.judging.evaluated import accuracies, read_scores
from fashion.judging.scores import BINS
from fashion.judging.summaries import Ranked
from fashion.networks.weights import load, trained
from fashion.settings.params import Params
from fashion.showing.pages import render


def card(key: str, output: Path | None) -> None:
    """Write the card of a trained network, from its weights' description and its committed metrics."""
    params = Params.load()
    name, path = params.name(key), output or Path(f"models/{key}.md")
    weights = trained(name)
    _, description, header = load(weights)
    scores = read_scores(name, description.identity)
    row = read_json(Path("metrics/leaderboard.json"), dict[str, Ranked]).get(key)
    # The leaderboard may be older than the scores.
    if not scores or not row or not accuracies(scores).items() <= row.items():
        raise FashionError(
            f"metrics has no scores of {weights}: dvc repro models/dvc.yaml:evaluate@{name}, then "
            "dvc repro --single-item models/dvc.yaml:leaderboard makes them."
        )
    page = render(
        "card.md",
        description=description,
        header=header,
        recipe=description.architecture.train,
        bins=BINS,
        scores=scores,
        row=row,
        source=params.published.get(key),
    )
    write_text(path, page)
    typer.echo(printable(str(path)))
