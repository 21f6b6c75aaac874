"""The scores that belong to the current settings and code; tables show no others."""

from pathlib import Path
from typing import Any

from fashion.files import read_json
from fashion.settings.description import DESCRIPTIONS, Description


def descriptions() -> dict[str, Description]:
    """The description of every training, as the stage check wrote it, by the training's name."""
    files = sorted(DESCRIPTIONS.glob("*.json"), key=lambda path: path.stem)
    return {path.stem: Description.read(path) for path in files}


def current(trainings: dict[str, Description]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The current scores of all evaluated trainings, by name, and the names of the trainings left out.

    A training is left out if its scores belong to other settings or code than those in its description.
    """
    found, left_out = {}, []
    for name, description in trainings.items():
        path = Path(f"metrics/evaluate/{name}.json")
        if path.is_file():
            scores = read_json(path)
            if scores.get("training") == description.identity:
                found[name] = scores
            else:
                left_out.append(name)
    return found, left_out


def sentence(left_out: list[str]) -> str:
    """A note on the trainings that a table leaves out; empty if there are none."""
    if not left_out:
        return ""
    return f"Left out, because their settings or code have changed since they were trained: {', '.join(left_out)}."
