"""Tool outcome: what the last dvc repro gave, beside the published and the committed result."""

import time

import typer

from fashion.errors import FashionError
from fashion.judging.comparing import mcnemar
from fashion.judging.evaluated import read_scores
from fashion.networks.hardware import choose
from fashion.repository.commands import output
from fashion.repository.versions import Scores, answers, at, here, scores_in
from fashion.settings.description import Description
from fashion.settings.params import Params
from fashion.showing.pages import duration

RESULTS = "dvc.lock models/dvc.lock metrics plots"
KEEP = "dvc repro --single-item models/dvc.yaml:leaderboard models/dvc.yaml:results && git commit --all"


def outcome(since: float | None) -> None:
    """Print the chosen model's accuracy, whether it is the committed one, and what to do next."""
    params = Params.load()
    key, name = params.model, params.name(params.model)
    description = Description.of(name)
    scores = read_scores(name, description.identity)
    if scores is None:
        raise FashionError(f"{name} is not evaluated with the current settings and code: run dvc repro.")
    before = scores_in(at("HEAD"), name)
    accuracies = {"published": params.claims(key).get("test_accuracy")}
    accuracies |= {"committed": before["test"]["accuracy"]} if before else {}
    known = "".join(f", {what} {value:.2%}" for what, value in accuracies.items() if value is not None)
    test = scores["test"]
    typer.echo(f"\n{key}: {test['accuracy']:.2%} of {test['images']:,} test images are right{known}.")
    hardware = choose(params.gpu.device, description.gpu, description.architecture.train.precision)
    typer.echo(_compared(name, description, before, hardware.why))
    if since:
        typer.echo(f"It took {duration(time.time() - since)}.")
    typer.echo("Open plots/report.html. To change a setting and see what that changes:\n")
    typer.echo("    . .venv/bin/activate")
    typer.echo(f"    dvc exp run -S models.{key}.train.epochs=5")
    typer.echo("    dvc metrics diff")


def _compared(name: str, description: Description, before: Scores | None, why: str) -> str:
    """Whether the results are the committed ones; if not, why, whether that is noise, and what to do."""
    if not before:
        return "No result of it is committed. To keep this one: git add --all && git commit"
    # The files of this training and its report; leaderboards and other trainings may change for other reasons.
    files = ("metrics/report.json", f"metrics/*/{name}.*", "plots", ":!plots/leaderboard.*")
    changed = output("git", "status", "--porcelain", "--", *files).splitlines()
    if not changed:
        return "Every result is the committed one, to the last bit."
    count = len(changed)
    differ = f"{count} result{'s' * (count > 1)} differ{'s' * (count == 1)} from the committed ones"
    if before.get("training") != description.identity:
        return f"{differ}, since settings or code do: git status lists them. To keep them: {KEEP}"
    found = answers(at("HEAD"), name, here, name)
    noise = f" {mcnemar(*found).words}." if found else ""
    return (
        f"{differ}, which are of another kind of machine: git status lists them. Here it was {why}. "
        f"Expect differences as large as between two seeds.{noise}\n"
        f"To go back: git restore {RESULTS}\nTo keep them, on a branch of your own: {KEEP}"
    )
