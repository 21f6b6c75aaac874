"""Tool diff: which trainings' accuracies changed since a commit, and whether that is more than noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import typer

from fashion.errors import FashionError
from fashion.judging.comparing import LEVEL, Paired, by_class, mcnemar, together
from fashion.repository.commands import attempt, check_clone, output, resolved
from fashion.repository.versions import Answers, Read, Scores, answers, at, here, report_in, scores_in
from fashion.settings.params import PATH
from fashion.showing.markdown import table

SCORES = "metrics/evaluate"
PARTS: tuple[Literal["validation", "test"], ...] = ("validation", "test")


def diff(base: str | None) -> None:
    """Print the changes since a commit."""
    if not PATH.is_file():
        raise FashionError(f"{PATH} is not here: run the command in the project's root.")
    commit = _commit(base)
    before, after = at(commit), here
    if sections := [*_chosen(before, after), *_trainings(commit, before, after)]:
        typer.echo("\n\n".join((f"### Accuracies since `{commit}`", *sections)))
    else:
        typer.echo(f"No accuracy changed since `{commit}`.")


def _commit(name: str | None) -> str:
    """The short hash of a commit, by default of the one where HEAD left main."""
    check_clone()
    # The later merge base of the two: a local main may be behind, and a clone of another branch has only origin's.
    known = [main for main in ("main", "origin/main") if attempt("git", "rev-parse", "--verify", "--quiet", main)]
    if not (name or known):
        raise FashionError("there is no branch main to compare with: name a commit, HEAD~1 for example.")
    if name := name or attempt("git", "merge-base", "HEAD", *known):
        return resolved(name.strip())
    raise FashionError(f"git does not know where HEAD left {known[0]}: name a commit, or run git fetch --unshallow.")


def _chosen(before: Read, after: Read) -> list[str]:
    """The paired tests of the chosen model's predictions with those of the one chosen before, overall and by class."""
    was, now = (report_in(read) for read in (before, after))
    if was is None or now is None or before("metrics/report.json") == after("metrics/report.json"):
        return []
    old, new = (f"{report['model']}-{report.get('seed')}" for report in (was, now))
    paired = answers(before, old, after, new)
    chosen = " → ".join(dict.fromkeys((f"`{old}`", f"`{new}`")))
    return [
        f"{chosen}, test images: {_verdict(mcnemar(*paired) if paired else None)}.",
        *_by_class(paired, _classes(after, new)),
    ]


def _classes(read: Read, name: str) -> dict[int, str]:
    """The names of the classes in a training's scores, by label."""
    scores = scores_in(read, name)
    return {label: row["class"] for label, row in enumerate(scores["classes"])} if scores else {}


def _trainings(commit: str, before: Read, after: Read) -> list[str]:
    """A table of the trainings whose scores differ, with the paired tests, corrected together."""
    committed = output("git", "ls-tree", "--name-only", commit, f"{SCORES}/").splitlines()
    names = sorted({Path(file).stem for file in [*committed, *map(str, Path(SCORES).glob("*.json"))]})
    scores = {name: [scores_in(read, name) for read in (before, after)] for name in names}
    changed = {name: (was, now) for name, (was, now) in scores.items() if was != now}
    pairs = {name: answers(before, name, after, name) for name, (was, now) in changed.items() if was and now}
    comparable = {name: mcnemar(*pair) for name, pair in pairs.items() if pair}
    tests = dict(zip(comparable, together([*comparable.values()]), strict=True))
    rows = []
    for name, (was, now) in changed.items():
        parts = [f"{_accuracy(was, part)} → {_accuracy(now, part)}" for part in PARTS]
        verdict = _verdict(tests.get(name)) if name in pairs else "new" if now else "removed"
        rows.append([f"`{name}`", *parts, verdict])
    corrected = f", Holm-corrected p of {len(tests)} tests" if len(tests) > 1 else ""
    title = f"paired test on the test images{corrected}"
    return [table(("training", "validation", "test", title), rows)] if rows else []


def _accuracy(scores: Scores | None, part: Literal["validation", "test"]) -> str:
    """The accuracy in a file of scores; a hyphen if there is none."""
    return f"{scores[part]['accuracy']:.2%}" if scores else "-"


def _verdict(test: Paired | None) -> str:
    """The paired test in words."""
    return test.words if test else "no paired test, since the test images are not the same"


def _by_class(paired: Answers | None, names: Mapping[int, str]) -> list[str]:
    """A table of the classes whose recall changed by more than noise, or a sentence that there is none."""
    tests = by_class(paired.truth, [paired.before], paired.after)[0] if paired else {}
    rows = [[names.get(label, str(label)), test.words] for label, test in tests.items() if test.p < LEVEL]
    if rows:
        return [table(("class", f"recall, Holm-corrected p of {len(tests)} tests"), rows)]
    return [f"No class's recall changed by more than noise ({len(tests)} tests, Holm-corrected)."] if tests else []
