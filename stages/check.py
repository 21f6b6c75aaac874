"""Stage check: validate all settings before any other stage runs on them."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import typer

from fashion.cli.advice import in_row
from fashion.code.fingerprint import fingerprint, stages
from fashion.code.identity import RECORD, Record, identity, read_record
from fashion.errors import FashionError
from fashion.files import md5, write_text
from fashion.networks.building import check_training, count, plan
from fashion.repository.commands import attempt
from fashion.repository.locks import changed
from fashion.settings.description import DESCRIPTIONS, INPUTS, Description
from fashion.settings.params import PATH, UNDO, Budget, Params
from fashion.training.recipe import smallest_share


def check() -> None:
    """Validate params.yaml and write data/inputs, whose files change only if a stage's results can change."""
    params, parameters = Params.load(), dict[str, int]()
    for key, row in params.models.items():
        with in_row(key):
            network = plan(row.layers)
            check_training(network, smallest_share(row.train.batch_size, row.train.lanes))
            parameters[key], _ = count(network)
    for key, one in params.budgets.items():
        _check_budget(f"budgets.{key}", one, params.models[one.model].train.epochs, parameters[one.model])
    trainings = params.trainings()
    files = {DESCRIPTIONS / f"{name}.json": description.text for name, description in trainings.items()}
    splits = {key: params.splits[row.split].model_dump() for key, row in params.models.items()}
    files[INPUTS / "splits.json"] = json.dumps(splits, indent=2) + "\n"
    # The identity of `train` is in each description.
    files |= {INPUTS / f"code/{stage}.txt": f"{identity(stage)}\n" for stage in stages() if stage != "train"}
    # Files of deleted rows must go too; when DVC runs this stage, it deletes the outputs first.
    shutil.rmtree(INPUTS, ignore_errors=True)
    for path, text in files.items():
        write_text(path, text)
    if causes := _causes(params, trainings, {str(path): text for path, text in files.items()}):
        typer.echo(f"Stale: {causes}.")


def _check_budget(where: str, one: Budget, epochs: int, parameters: int) -> None:
    """Raise FashionError if a budget's architecture uses more than that."""
    if one.epochs and epochs > one.epochs:
        raise FashionError(f"{PATH}: {where} allows {one.epochs} epochs, and {one.model} takes {epochs}. {UNDO}")
    if one.parameters and parameters >= one.parameters:
        limit = f"allows fewer than {one.parameters:,} parameters"
        raise FashionError(f"{PATH}: {where} {limit}, and {one.model} has {parameters:,}. {UNDO}")


def _causes(params: Params, trainings: dict[str, Description], files: dict[str, str]) -> str:
    """What became stale since it last ran, and through what; empty if nothing did."""
    identities = _identities()
    # For each cause, trainings and other stages.
    stale = {"settings": (set[str](), set[str]()), "code": (set[str](), set[str]())}
    for stage, path, before in changed(files):
        if Path(path).parent == DESCRIPTIONS:
            name = Path(path).stem
            texts = (trainings[name].model_copy(update={"code": one}).text.encode() for one in identities)
            stale["code" if before in map(md5, texts) else "settings"][0].add(name)
        else:
            stale["code" if Path(path).parent.name == "code" else "settings"][1].add(stage.partition("@")[0])
    rows = sorted({trainings[name].model for name in stale["settings"][0]})
    of = f" of {'all rows' if len(rows) == len(params.models) else ', '.join(rows)}" if rows else ""
    words = {"settings": f"settings{of}", "code": f"code{_advice()}"}
    return "; ".join(
        f"{', '.join([_counted(names)] * bool(names) + sorted(others))} through {words[cause]}"
        for cause, (names, others) in stale.items()
        if names or others
    )


def _counted(names: set[str]) -> str:
    return f"{len(names)} training{'s' if len(names) > 1 else ''}"


def _identities() -> set[str]:
    """The identities of code that the record knows, here and in the last commit."""
    committed = attempt("git", "show", f"HEAD:./{RECORD.name}")
    with suppress(ValueError):
        return read_record().identities | Record.model_validate_json(committed or "{}").identities
    return read_record().identities


def _advice() -> str:
    """What to do about changed code, unless it was compared: then it computes something else."""
    code = read_record().code
    compared = all(code.get(stage) == fingerprint(stage) for stage in stages())
    return "" if compared else " (python -m tools same finds what computes the same as before)"
