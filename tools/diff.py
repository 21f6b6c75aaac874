"""Tool diff: what changed in settings and metrics, and whether that is more than noise."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from psutil import pid_exists
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fashion.errors import FashionError
from fashion.judging.comparing import LEVEL, by_class, mcnemar
from fashion.judging.evaluated import Labels
from fashion.running.commands import DVC, attempt, check_clone, resolved
from fashion.settings.params import PATH, parsed
from fashion.showing.markdown import table

# True labels, labels predicted before, labels predicted after.
Answers = tuple[Labels, Labels, Labels]
# Reads a file on one side of the comparison; None if that side has no such file.
Read = Callable[[str], str | None]
REPORT = "metrics/report.json"
LOCKS = {"dvc.lock": "", "models/dvc.lock": "models/dvc.yaml:"}
# A comment on GitHub has at most 65,536 characters: this many settings fit, with values cut to this width.
ROWS, WIDTH = 100, 80


def diff(base: str | None) -> None:
    """Print the changes since a commit."""
    if not PATH.is_file():
        raise FashionError(f"{PATH} is not here: run the command in the project's root.")
    commit = _commit(base)
    before, after = partial(_committed, commit), _here
    sections = _settings(before, after), *_chosen(before, after), _others(commit, before, after)
    if changes := "\n\n".join(filter(None, sections)):
        typer.echo(f"### Changes since `{commit}`\n\n{changes}\n\n{_stale()}")
    else:
        typer.echo(f"No setting and no number changed since `{commit}`. {_stale()}")


def _commit(name: str | None) -> str:
    """The short hash of a commit, by default of the one where HEAD left main."""
    check_clone()
    # The later merge base of the two: a local main may be behind, and a clone of another branch has only origin's.
    mains = (("main", "origin/main"), ("main",), ("origin/main",))
    name = name or next(filter(None, (attempt("git", "merge-base", "HEAD", *refs) for refs in mains)), None)
    if not name:
        raise FashionError("there is no branch main to compare with: name a commit, HEAD~1 for example.")
    return resolved(name.strip())


def _committed(commit: str, path: str) -> str | None:
    return attempt("git", "show", f"{commit}:./{path}")


def _here(path: str) -> str | None:
    return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None


def _mapping(read: Read, path: str) -> dict[str, Any]:
    """The content of a JSON or YAML file; empty if there is no such file."""
    parse = json.loads if path.endswith(".json") else parsed if path == str(PATH) else YAML(typ="safe").load
    try:
        content = parse(read(path) or "{}")
    except (ValueError, RecursionError, YAMLError, FashionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, "not a mapping")
    return content


def _labels(read: Read, key: str) -> Labels:
    """True and predicted label of each test image, (images, 2); no images if there is no such file."""
    path = f"metrics/predictions/{key}.csv"
    try:
        table = pd.read_csv(StringIO(read(path) or "truth,prediction"), dtype="int64")
        return table[["truth", "prediction"]].to_numpy()
    except (ValueError, KeyError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: object) -> FashionError:
    first = str(error).strip(" ,:\n").split("\n")[0].rstrip(".")
    return FashionError(f"{path} is damaged, here or in that commit ({first}): restore it with git.")


def _settings(before: Read, after: Read) -> str:
    """A table of the settings that differ."""
    rows = list(_changes(_mapping(before, "params.yaml"), _mapping(after, "params.yaml")))
    rest = [[f"and {len(rows) - ROWS:,} more", "", ""]] if len(rows) > ROWS else []
    return _table(("setting", "before", "after"), rows[:ROWS] + rest)


def _changes(before: object, after: object, name: str = "") -> Iterator[list[str]]:
    """The dotted name of each setting that differs, with both values; for layers also a change of their order."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if before != after:
            yield [_code(name), _code(before), _code(after)]
        return
    for key in before | after:
        yield from _changes(before.get(key), after.get(key), f"{name}.{key}" if name else str(key))
    if ".layers" in name:
        yield from _moved(name, [key for key in before if key in after], [key for key in after if key in before])


def _moved(name: str, before: list[str], after: list[str]) -> Iterator[list[str]]:
    """The layers whose places differ in two orders of the same layers."""
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if moved:
        old, new = zip(*moved, strict=True)
        yield [f"{_code(name)}, order", _code(", ".join(old)), _code(", ".join(new))]


def _chosen(before: Read, after: Read) -> list[str]:
    """The chosen model's metrics as a table, and the paired tests of its predictions, overall and class by class."""
    was, now = _mapping(before, REPORT), _mapping(after, REPORT)
    if was == now:
        return []
    rows = [[_code(name), *_figures(name, was.get(name), now.get(name))] for name in was | now]
    metrics = _table(("metric", "before", "after", "change"), rows)
    if not (was and now):
        return [metrics]
    answers = _answers(before, str(was.get("model")), after, str(now.get("model")))
    return [metrics, f"Test images: {_verdict(answers)}.", _by_class(answers, _classes(after, str(now.get("model"))))]


def _classes(read: Read, key: str) -> dict[int, str]:
    """The names of the classes in an architecture's scores, by label."""
    match _mapping(read, f"metrics/evaluate/{key}.json").get("classes"):
        case [*rows]:
            return {label: row["class"] for label, row in enumerate(rows) if isinstance(row, dict) and "class" in row}
    return {}


def _others(commit: str, before: Read, after: Read) -> str:
    """A table of the other architectures whose numbers differ, with the paired test of each."""
    committed = (attempt("git", "ls-tree", "--name-only", commit, "metrics/evaluate/") or "").splitlines()
    keys = {Path(file).stem for file in committed} | {file.stem for file in Path("metrics/evaluate").glob("*.json")}
    # The chosen model is compared above, unless it is another one now.
    keys -= {_mapping(before, REPORT).get("model")} & {_mapping(after, REPORT).get("model")}
    rows = []
    for key in sorted(keys):
        was, now = (_mapping(read, f"metrics/evaluate/{key}.json") for read in (before, after))
        if was == now:
            continue
        cells = []
        for part in ("validation", "test"):
            old, new, _ = _figures("accuracy", _accuracy(was, part), _accuracy(now, part))
            cells.append(f"{old} → {new}")
        verdict = _verdict(_answers(before, key, after, key)) if was and now else "new" if now else "removed"
        rows.append([_code(key), *cells, verdict])
    return _table(("other training", "validation", "test", "paired test"), rows)


def _accuracy(scores: dict[str, Any], part: str) -> object:
    """The accuracy in a file of scores; None if there is none."""
    match scores.get(part):
        case {"accuracy": accuracy}:
            return accuracy
    return None


def _answers(before: Read, old: str, after: Read, new: str) -> Answers | None:
    """Truth, labels predicted before and after; None if the test images are not the same."""
    was, now = _labels(before, old), _labels(after, new)
    same = len(now) and np.array_equal(was[:, 0], now[:, 0])
    return (now[:, 0], was[:, 1], now[:, 1]) if same else None


def _verdict(answers: Answers | None) -> str:
    """The paired test in words."""
    return mcnemar(*answers).words if answers else "no paired test, since the test images are not the same"


def _by_class(answers: Answers | None, names: Mapping[int, str]) -> str:
    """A table of the classes whose recall changed by more than noise, or a sentence that there is none."""
    tests = by_class(*answers) if answers else {}
    rows = [[_code(names.get(one, str(one))), test.words] for one, test in tests.items() if test.p < LEVEL]
    none = f"No class's recall changed by more than noise ({len(tests)} tests, Holm-corrected)." if tests else ""
    return _table(("class", f"recall, Holm-corrected p of {len(tests)} tests"), rows) or none


def _stale() -> str:
    """The stages that have run before and that DVC would run again, since their own code, settings or files changed."""
    if _running():
        return "Which stages are stale is unknown while DVC runs one."
    # `check` writes what the other stages depend on.
    if attempt(sys.executable, "-m", "stages", "check") is None:
        return "Which stages are stale is unknown, since `python -m stages check` fails."
    # Not `dvc repro --dry --allow-missing`: without a cache it ends at the first stale stage.
    status = attempt(*DVC, "status", "--json")
    if status is None:
        # A running training may hold DVC's lock; the rest of the output is still right.
        return "Which stages are stale is unknown, since `dvc status` fails."
    ran = {prefix + name for lock, prefix in LOCKS.items() for name in _mapping(_here, lock).get("stages", {})}
    stale = [name for name, entries in json.loads(status).items() if name in ran and any(map(_changed, entries))]
    names = ", ".join(_code(name.removeprefix("models/dvc.yaml:")) for name in stale)
    return f"Stale: {names}, and all that depends on them." if stale else "No stage is stale."


def _running() -> bool:
    """Whether DVC runs a stage in this folder: it then holds locks of files."""
    try:
        locks = _mapping(_here, ".dvc/tmp/rwlock")
    except FashionError:
        # DVC is writing it.
        return True
    holders = chain(locks.get("write", {}).values(), *locks.get("read", {}).values())
    return any(pid_exists(holder["pid"]) for holder in holders)


def _changed(entry: dict[str, dict[str, Any]] | str) -> bool:
    """Whether an entry of `dvc status` reports more than missing files, which a clone without a cache has."""
    if isinstance(entry, str):
        # The command has changed.
        return True
    return any(state not in ("deleted", "not in cache") for files in entry.values() for state in files.values())


def _figures(name: str, was: object, now: object) -> list[str]:
    """A metric before and after, and its change if both are numbers."""
    accuracy = name.endswith("accuracy")
    change = ""
    if isinstance(was, int | float) and isinstance(now, int | float) and was != now:
        change = f"{100 * (now - was):+z.2f} points" if accuracy else _figure(now - was, sign="+")
    return [
        *(f"{value:.2%}" if accuracy and isinstance(value, float) else _figure(value) for value in (was, now)),
        change,
    ]


def _figure(value: object, sign: str = "") -> str:
    match value:
        case float():
            return f"{value:{sign}z.4f}"
        case int():
            return f"{value:{sign},}"
    return _code(value)


def _code(value: object) -> str:
    """A value as code in a cell of a table, with nothing that Markdown would interpret; a hyphen for None."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    short = text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
    return f"`{' '.join(short.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty if it has no rows."""
    return table(head, rows) if rows else ""
