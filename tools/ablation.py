"""Tool ablation: what each ingredient of a recipe contributes."""

import signal
import subprocess
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import typer
from dvc.api import metrics_show

from fashion.errors import FashionError
from fashion.files import write_json
from fashion.judging.ablations import Ingredient, ingredients
from fashion.judging.comparing import LEVEL, METHOD, p_value, seeds_needed
from fashion.repository.commands import DVC, environment, output
from fashion.settings.description import NO_AUGMENT, Train
from fashion.settings.params import Params
from fashion.showing.tables import show

# The value of each ingredient that leaves it out.
WITHOUT: dict[str, Any] = {
    **{f"augment.{name}": value for name, value in NO_AUGMENT.model_dump().items()},
    "label_smoothing": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}


def ablation(key: str, seeds: int) -> None:
    """Run the experiments that are missing, then write and print the validation accuracies."""
    signal.signal(signal.SIGTERM, _interrupt)
    params = Params.load()
    recipe = params.architecture(key).train
    changes = _changes(key, recipe)
    _check_number(seeds, len(changes) - 1)
    if changed := output("git", "status", "--porcelain", "--", ".", ":!metrics/ablation").splitlines():
        raise FashionError(
            f"experiments start from a commit, and {changed[0][3:]} has uncommitted changes: commit or undo them."
        )
    try:
        accuracies = _accuracies(key, seeds, changes)
    except KeyboardInterrupt:
        raise FashionError("interrupted; the same command resumes the ablation.") from None
    rows = ingredients(accuracies)
    found = {"model": key, "training": params.describe(key).identity, "method": METHOD}
    write_json(Path(f"metrics/ablation/{key}.json"), found | {"epochs": recipe.epochs, "seeds": seeds, "rows": rows})
    _show(rows)


def _check_number(seeds: int, ingredients: int) -> None:
    """Raise FashionError if no ingredient could be significant with so few seeds."""
    if seeds < (least := seeds_needed(ingredients)):
        raise FashionError(
            f"a recipe with so many ingredients ({ingredients}) needs at least {least} seeds: "
            f"with {seeds}, no p value can be below {LEVEL:.0%} after Holm's correction."
        )


def _accuracies(key: str, seeds: int, changes: dict[str, list[str]]) -> dict[str, list[float]]:
    """Run the experiments that are missing; for each change the validation accuracies of all seeds."""
    known = output(*DVC, "exp", "list", "--name-only").split()
    found: dict[str, list[float]] = {without: [] for without in changes}
    runs = list(product(changes.items(), range(seeds)))
    for number, ((without, change), seed) in enumerate(runs, 1):
        name = f"{key}-{f'without-{without}' if without else 'whole'}-seed-{seed}".replace(".", "-")
        if name not in known:
            typer.echo(f"{name}, {number} of {len(runs)}", err=True)
            # No seed may also be in more_seeds.
            _train(name, f"model={key}", f"seeds=[{seed}]", "more_seeds.models=[]", *change)
        found[without].append(metrics_show("metrics/report.json", rev=name)["validation_accuracy"])
    return found


def _changes(key: str, recipe: Train) -> dict[str, list[str]]:
    """The changed settings that leave out each ingredient of a recipe; none for the whole recipe."""
    settings = pd.json_normalize(recipe.model_dump()).iloc[0]
    changes = {
        name: [f"++models.{key}.train.{name}={str(value).lower()}"]
        for name, value in WITHOUT.items()
        if settings[name] != value
    }
    if not changes:
        raise FashionError(f"the recipe of {key} has no ingredient to leave out: none of {', '.join(WITHOUT)}.")
    return {"": [], **changes}


def _train(name: str, *changes: str) -> None:
    """Run an experiment in a folder of its own; FashionError if it fails."""
    settings = [word for change in changes for word in ("--set-param", change)]
    command = [*DVC, "exp", "run", "--temp", "--name", name, *settings]
    # dvc's output goes to standard error, as progress does: standard output has only the table.
    with subprocess.Popen(command, stdout=sys.stderr, env=environment()) as process:  # noqa: S603 - no shell
        try:
            failed = process.wait()
        except KeyboardInterrupt:
            # dvc and the training got the signal too, and need time to clean up.
            process.wait()
            raise
    if failed:
        raise FashionError(f"the experiment {name} failed; its messages are above.")


def _interrupt(*_: object) -> None:
    """Do what Ctrl-C does: interrupt dvc and its training, too."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


def _show(rows: list[Ingredient]) -> None:
    """Print the accuracies as a table."""
    whole = rows[0]["mean"]
    show(
        [
            {
                "without": row["without"] or "nothing",
                "validation accuracy": f"{row['mean']:.2%}",
                "standard deviation": f"{100 * row['deviation']:.2f}",
                "points": f"{100 * (row['mean'] - whole):+.2f}" if row["without"] else "",
                "95 % interval": " to ".join(f"{100 * end:+.2f}" for end in row["interval"] or ()),
                "p": "" if row["p"] is None else p_value(row["p"]),
            }
            for row in rows
        ]
    )
    typer.echo(METHOD)
