"""Tool same: whether the code in this folder computes the bytes that the code of another commit computes."""

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import typer
from ruamel.yaml import YAML

from fashion.code.difference import first_difference
from fashion.code.fingerprint import fingerprint, stages
from fashion.code.identity import RECORD, Record, read_record
from fashion.code.workers import CommandError, Run, workers
from fashion.data.fetching import fetch
from fashion.environment import PORTABLE, native
from fashion.errors import FashionError
from fashion.files import write_text
from fashion.repository.commands import check_clone, output, resolved
from fashion.repository.versions import at
from fashion.settings.params import PATH, Params, parsed

# How a row trains here: 22 steps in two epochs, on a quarter of the digits. At its own rate `alexnet` would diverge,
# since its warm-up is a share of the steps.
SHORT = {"epochs": 2, "batch_size": 32, "learning_rate": 0.002}
SPLIT = {"train": 15_000, "validation": 5_000}
# Stages whose inputs are all in git. They run on these inputs, not on digits.
WHOLE = ("download", "samples", "split", "leaderboard", "results")
UNNAMED = "it was not named"


class Side(NamedTuple):
    """One of the two sides: where its code is from, in words, and a folder with the project and that code."""

    words: str
    folder: Path

    @property
    def probe(self) -> Path:
        """The folder in which this side's rows train."""
        return self.folder.with_name(f"{self.folder.name}-digits")


class Finding(NamedTuple):
    """What was found of a stage, for train and evaluate also of a row, as train@KEY.

    result: same, differs, new or not compared. why: the first difference, or the reason.
    """

    name: str
    result: str
    why: str = ""


def same(base: str | None, keys: list[str], as_json: bool) -> None:
    """Run both sides, print what was found, and write it to the record."""
    check_clone()
    params = Params.load()
    for key in keys:
        params.architecture(key)
    commit = resolved(base) if base else _last_recorded()
    say: Callable[[str], object] = (lambda _: None) if as_json else typer.echo
    findings: list[Finding] = []
    try:
        with TemporaryDirectory() as folder, workers(Path(folder)) as (run, pool):
            before, after = _sides(Path(folder), commit)
            identities, codes, changed = _checked(before, after, run)
            for line, found in _compared(params, keys, before, after, changed, run, pool):
                first = next((one for one in found if one.result != "same"), found[0])
                say(f"{line:22}{first.result:14}{first.why}".rstrip())
                findings += found
    except CommandError as error:
        raise FashionError(f"{error}: nothing was written; mend it, or name another commit.") from None
    except KeyboardInterrupt:
        raise FashionError("interrupted; nothing was written.") from None
    record = _updated(identities, codes, changed, findings)
    write_text(RECORD, json.dumps(record.model_dump(), indent=2, sort_keys=True) + "\n")
    if as_json:
        typer.echo(json.dumps({"base": commit, "findings": [one._asdict() for one in findings]}, indent=2))
    names = {*codes, *identities} - {*record.same_as}
    new = [one.name for one in findings if one.name in names and one.result != "same"]
    say(_summary(commit, new) if findings else f"No stage's code has changed since {commit}.")


def _summary(commit: str, new: Sequence[str]) -> str:
    """What follows, in a sentence; new: the stages and rows whose code has a new identity."""
    if not new:
        return f"The code computes what it did at {commit}, so all results stay current: commit {RECORD.name}."
    names = ", ".join(new)
    return f"New: {names}. The rest computes what it did at {commit}: commit {RECORD.name}, and run what is stale."


def _last_recorded() -> str:
    """The last commit on this branch whose record is of its own code."""
    for commit in output("git", "rev-list", "--first-parent", "HEAD").split():
        if not (text := at(commit)(RECORD.name)):
            continue
        with suppress(ValueError), TemporaryDirectory() as folder:
            record, root = Record.model_validate_json(text), Path(folder)
            _extract(commit, root, "fashion", "stages")
            if all(record.code.get(stage) == fingerprint(stage, root) for stage in ("evaluate", "train")):
                return resolved(commit)
    raise FashionError("git has no commit here whose code is recorded: name one, HEAD for example.")


def _extract(commit: str, folder: Path, *paths: str) -> None:
    """Write a commit's files to a folder."""
    archive = folder / "archive.tar"
    output("git", "archive", "--output", str(archive), commit, *paths)
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    archive.unlink()


def _sides(folder: Path, commit: str) -> tuple[Side, Side]:
    """The project at that commit, and the same with the code and the settings that are in this folder."""
    before, after = Side(f"at {commit}", folder / "before"), Side("in this folder", folder / "after")
    before.folder.mkdir()
    _extract(commit, before.folder)
    shutil.copytree(before.folder, after.folder)
    for name in ("fashion", "stages"):
        shutil.rmtree(after.folder / name, ignore_errors=True)
    listed = output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "fashion", "stages")
    for name in filter(None, listed.split("\0")):
        if (source := Path(name)).is_file():
            (after.folder / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, after.folder / source)
    shutil.copy(PATH, after.folder)
    for side in (before, after):
        _set(side, side.folder)
    return before, after


def _set(side: Side, folder: Path, short: bool = False) -> None:
    """Write a side's settings to a folder: those of its params.yaml, but for Fashion-MNIST.

    short: on the CPU, with the short recipe and the small splits.
    """
    content: Any = parsed((side.folder / PATH).read_text(encoding="utf-8"))
    try:
        content["data"]["dataset"] = "fashion_mnist"
        if short:
            content["gpu"]["device"] = "cpu"
            content["splits"] = {name: split | SPLIT for name, split in content["splits"].items()}
            for row in content["models"].values():
                row["train"] = row.get("train", {}) | SHORT
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{PATH} {side.words} has another form ({error})") from None
    # JSON is YAML.
    write_text(folder / PATH, json.dumps(content))


def _checked(before: Side, after: Side, run: Run) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Run the stage check on both sides, as if both computed the same.

    Returns the identities of the first side, by the names of a record; the fingerprints of the second side's stages;
    the stages whose code differs.
    """
    run(before.words, before.folder, "check")
    inputs = before.folder / "data/inputs"
    identities = {file.stem: file.read_text().strip() for file in inputs.glob("code/*.txt")}
    for file in inputs.glob("train/*.json"):
        description = json.loads(file.read_text())
        identities[f"train@{description['model']}"] = description["code"]
    codes = {stage: fingerprint(stage, after.folder) for stage in stages(after.folder)}
    changed = {
        stage
        for stage, code in codes.items()
        if stage not in stages(before.folder) or fingerprint(stage, before.folder) != code
    }
    # The bytes of headers and scores, which have the identity, are then the same, too.
    record = Record(code=codes, same_as=identities)
    write_text(after.folder / RECORD.name, record.model_dump_json())
    run(after.words, after.folder, "check")
    # A new row has a split of its own, which is no change of the code that draws it.
    shutil.copy(inputs / "splits.json", after.folder / inputs.relative_to(before.folder))
    return identities, codes, changed


def _compared(
    params: Params, keys: list[str], before: Side, after: Side, changed: set[str], run: Run, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, list[Finding]]]:
    """Compare what changed: the rows, then the stages; gives the name of each and what was found of it."""
    whole = [stage for stage in WHOLE if stage in changed]
    runs = [pool.submit(_failures, WHOLE, side, side.folder, run) for side in (before, after) if whole]
    if changed - {*WHOLE}:
        digits = before.folder / "digits"
        list(fetch("digits", digits, None))
        list(pool.map(lambda side: _prepare(side, digits, run), (before, after)))
        rows = [*params.models] if changed & {"train", "evaluate"} else [params.model]
        names = _names(after)
        reasons = {key: _reason(params, key, names[key], keys or rows, before, after) for key in rows}
        compared = pool.map(
            lambda key: _row(key, names[key], before, after, run), [key for key in rows if not reasons[key]]
        )
        found = {}
        for key in rows:
            found[key] = [reason] if (reason := reasons[key]) else next(compared)
            yield key, found[key]
        if "evaluate" in changed:
            yield "evaluate", [_evaluate(found)]
        if "neighbours" in changed:
            yield "neighbours", [_on_digits("neighbours", before, after, run)]
        if "report" in changed:
            same = [one.result for one in found[params.model]] == ["same", "same"]
            other = Finding("report", "not compared", f"{params.model} was not found the same")
            yield "report", [_on_digits("report", before, after, run) if same else other]
    failed = {stage: why for one in reversed(runs) for stage, why in one.result().items()}
    for stage in whole:
        yield stage, [_finding(stage, before.folder, after.folder, failed=failed.get(stage, ""))]


def _prepare(side: Side, digits: Path, run: Run) -> None:
    """Make the folder in which a side's rows train."""
    place = side.probe
    shutil.copytree(digits, place / "data/raw")
    for name in ("fashion", "stages"):
        shutil.copytree(side.folder / name, place / name)
    with suppress(FileNotFoundError):
        shutil.copy(side.folder / RECORD.name, place)
    _set(side, place, short=True)
    run(side.words, place, "check")
    run(side.words, place, "split")


def _failures(stages: Sequence[str], side: Side, place: Path, run: Run) -> dict[str, str]:
    """Run stages one after the other; gives those that fail, and why."""
    failed = {}
    for stage in stages:
        try:
            run(side.words, place, stage)
        except CommandError as error:
            failed[stage] = str(error)
    return failed


def _names(side: Side) -> dict[str, str]:
    """The name of a training of each row."""
    files = sorted((side.folder / "data/inputs/train").glob("*.json"), reverse=True)
    return {json.loads(file.read_text())["model"]: file.stem for file in files}


def _reason(params: Params, key: str, name: str, wanted: Sequence[str], before: Side, after: Side) -> Finding | None:
    """Why a row, with a training of that name, is not compared; None if it is."""
    row, file = f"train@{key}", f"data/inputs/train/{name}.json"
    if key not in wanted:
        return Finding(row, "not compared", UNNAMED)
    if not (before.folder / file).is_file():
        return Finding(row, "new", f"there is no such row {before.words}")
    if (before.folder / file).read_text() != (after.folder / file).read_text():
        return Finding(row, "not compared", "its settings differ, so it trains again")
    if params.models[key].train.precision == "bf16" and not native("bf16"):
        return Finding(row, "not compared", f"it is in bf16, and this processor lacks {PORTABLE['bf16'].name}")
    return None


def _row(key: str, name: str, before: Side, after: Side, run: Run) -> list[Finding]:
    """Train a row on both sides, and evaluate its weights if they are the same."""
    found: list[Finding] = []
    for stage in ("train", "evaluate"):
        for side in (before, after):
            run(side.words, side.probe, stage, name)
        found.append(_finding(stage, before.probe, after.probe, key, name))
        if found[-1].result != "same":
            break
    return found


def _evaluate(found: Mapping[str, Sequence[Finding]]) -> Finding:
    """What follows for the stage evaluate, which has one identity for all rows.

    A row that trains again is evaluated again in any case, so it does not count.
    """
    if unnamed := sum(first.why == UNNAMED for first, *_ in found.values()):
        return Finding("evaluate", "not compared", f"{unnamed} rows were not named")
    evaluated = [rest[0] for _, *rest in found.values() if rest]
    if not evaluated:
        return Finding("evaluate", "not compared", "all rows train again")
    differing = [one for one in evaluated if one.result == "differs"]
    if differing:
        return Finding("evaluate", "differs", f"{differing[0].why}; {len(differing)} of {len(evaluated)} rows")
    return Finding("evaluate", "same")


def _on_digits(stage: str, before: Side, after: Side, run: Run) -> Finding:
    """Compare a stage on what the rows' training left."""
    failed = "".join(why for side in (before, after) for why in _failures([stage], side, side.probe, run).values())
    return _finding(stage, before.probe, after.probe, failed=failed)


def _finding(stage: str, before: Path, after: Path, key: str = "", name: str = "", failed: str = "") -> Finding:
    """Compare what a stage wrote in two folders, in the order of its outs in dvc.yaml.

    key, name: the row and its training, of train and evaluate. failed: why the stage did not write.
    """
    what = f"{stage}@{key}" if key else stage
    if failed:
        return Finding(what, "not compared", failed)
    where = first_difference(before, after, [out.replace("${key}", name) for out in _outs(stage)])
    return Finding(what, "differs" if where else "same", where)


def _outs(stage: str) -> list[str]:
    """The paths of a stage's outs and metrics."""
    for file in ("dvc.yaml", "models/dvc.yaml"):
        row = YAML(typ="safe").load(Path(file).read_text(encoding="utf-8"))["stages"].get(stage, {})
        if entries := [*row.get("outs", []), *row.get("metrics", [])]:
            return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]
    raise FashionError(f"no dvc.yaml has a stage {stage} with outs.")


def _updated(
    identities: Mapping[str, str], codes: Mapping[str, str], changed: set[str], findings: Sequence[Finding]
) -> Record:
    """The record with what was found.

    What was found before of the same code stays, unless it is found wrong now: a second comparison, with the other
    branch of a merge, adds to the first.
    """
    try:
        before = read_record()
    except FashionError:
        before = Record(code={}, same_as={})
    results = {one.name: one.result for one in findings}

    def stands(name: str, code: str) -> bool:
        """Whether what the record says of a stage or a row is of this code, and was not found wrong."""
        stage = name.partition("@")[0]
        wrong = results.get(name) == "differs" and identities.get(name) == code
        return stage in codes and before.code.get(stage) == codes[stage] and not wrong

    kept = {
        name: code
        for name, code in identities.items()
        if results.get(name) == "same" or name.partition("@")[0] in codes.keys() - changed
    }
    known = {name: code for name, code in before.same_as.items() if stands(name, code)}
    # Code that stands for itself is left out: otherwise comparing the same code again would add it.
    same_as = {name: code for name, code in (kept | known).items() if code != codes[name.partition("@")[0]]}
    return Record(code=dict(codes), same_as=same_as)
