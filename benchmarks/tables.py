"""The generated tables of docs/speed.md and docs/predict.md, from the committed figures of benchmarks/."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from benchmarks import accuracy, gpu, photos, pipeline, training
from fashion.files import read_json, write_text
from fashion.showing.markdown import filled

PAGES = (Path("docs/speed.md"), Path("docs/predict.md"))


def tables() -> None:
    """Write all tables."""
    for page in PAGES:
        write_text(page, filled(page.read_text(encoding="utf-8"), TABLES))
        typer.echo(page)


def _figures(name: str) -> dict[str, Any]:
    return read_json(Path(f"benchmarks/{name}.json"), dict[str, Any])


TABLES: dict[str, Callable[[], str]] = {
    "training": lambda: training.page([_figures("training"), _figures("training_intel")]),
    "accuracy": lambda: accuracy.table(_figures("accuracy")),
    "pipeline": lambda: pipeline.table(_figures("pipeline")),
    "photos": lambda: photos.table(_figures("photos")),
    "gpu": lambda: gpu.page(_figures("gpu")),
}
