"""Tool card: a model card in the format that model hubs read."""

from pathlib import Path

import typer

from fashion.errors import FashionError, printable
from fashion.files import write_text
from fashion.judging.current import current
from fashion.judging.ranking import read_ranking
from fashion.judging.scores import BINS
from fashion.settings.params import Params, stage
from fashion.showing.pages import render
from fashion.using.loading import trained


def card(key: str, output: Path | None) -> None:
    """Write the card of a trained network, from its weights' description and its committed metrics."""
    params = Params.load()
    name, path = params.name(key), output or Path(f"models/{key}.md")
    _, description, header = trained(name)
    # From params.yaml: data/inputs may not be here.
    found, _ = current(params.trainings() | {name: description})
    if name not in found:
        raise FashionError(f"{name} is not evaluated: run dvc repro {stage('evaluate', name)} first.")
    page = render(
        "card.md",
        description=description,
        header=header,
        recipe=description.architecture.train,
        bins=BINS,
        scores=found[name],
        row=read_ranking(params, found)[key],
        source=params.published.get(key),
    )
    write_text(path, page)
    typer.echo(printable(str(path)))
