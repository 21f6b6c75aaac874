"""The scores that belong to the current settings and code; tables show no others, and say where these were trained."""

from collections import defaultdict
from collections.abc import Mapping

from fashion.judging.evaluated import Scores, read_scores, scores_file
from fashion.settings.description import DESCRIPTIONS, Description


def descriptions() -> dict[str, Description]:
    """The description of every training, as the stage check wrote it, by the training's name."""
    return {name: Description.of(name) for name in sorted(file.stem for file in DESCRIPTIONS.glob("*.json"))}


def current(trainings: dict[str, Description]) -> tuple[dict[str, Scores], list[str]]:
    """The current scores of all evaluated trainings, by name, and the names of the trainings left out.

    A training is left out if its scores belong to other settings or code than those in its description.
    """
    found, left_out = {}, []
    for name, description in trainings.items():
        if scores := read_scores(name, description.identity):
            found[name] = scores
        elif scores_file(name).is_file():
            left_out.append(name)
    return found, left_out


def trained_on(found: Mapping[str, Scores]) -> str:
    """Where and in which precision the trainings ran, in a sentence that names the rows which differ from most."""
    places = defaultdict[str, list[str]](list)
    for scores in found.values():
        places[_place(scores)].append(scores["model"])
    (most, models), *others = sorted(places.items(), key=lambda place: -len(place[1]))
    if not others:
        return f"{f'All {len(models)} trainings' if len(models) > 1 else 'The one training'} ran on {most}."
    rest = "; ".join(f"{len(other)} on {place}: {', '.join(dict.fromkeys(other))}" for place, other in others)
    return f"{len(models)} trainings ran on {most}; {rest}."


def _place(scores: Scores) -> str:
    """The device and how it computed, in words."""
    used = scores["hardware"]
    kernels = f", {used['kernels']} kernels" if used["device"] == "cpu" else ""
    return f"{used['device']} ({used['processor']}), {used['precision']}{kernels}, torch {scores['torch']}"


def sentence(left_out: list[str]) -> str:
    """A note on the trainings that a table leaves out; empty if there are none."""
    if not left_out:
        return ""
    return f"Left out, because settings, code or methods have changed since: {', '.join(left_out)}."
