"""Tool verify: whether a training gives the committed bytes again, on this machine."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fashion.data import Part
    from fashion.description import Description
    from fashion.training import Run

LOCK = "models/dvc.lock"


def verify(
    key: Annotated[str | None, typer.Argument(help="A key of `models`; the one that `model` names by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Compare so many epochs only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object instead of sentences.")] = False,
) -> None:
    """Train an architecture again and compare every figure of every epoch, then the weights, with what is committed.

    Nothing in the project's folder changes. The exit code is 1 if something differs.
    Example: python -m tools verify lenet5 --epochs 3
    """
    from fashion.params import Params
    from fashion.running.environment import prepare

    params = Params.load()
    prepare(params.gpu.kernels)

    from fashion import FashionError
    from fashion.hardware import choose
    from fashion.networks import build
    from fashion.training import begin

    key = key or params.model
    description = params.describe(key)
    _committed(key, description)
    row = description.architecture
    hardware = choose(device=params.gpu.device, **description.gpu.model_dump())
    run = begin(build(row.layers, row.init, description.seed), row, description.seed, hardware)
    last = min(epochs or row.train.epochs, row.train.epochs)
    say = partial(typer.echo, err=as_json)
    say(f"{key}: {last} of {row.train.epochs} epochs, {hardware.why}")
    train, validation, test = _images(description)
    try:
        differs_from = _first_difference(key, run, train, validation, last, say)
    except KeyboardInterrupt:
        raise FashionError(f"{key}: interrupted; nothing was written.") from None
    found = {"model": key, "epochs": last, "differs_from": differs_from}
    if last == row.train.epochs:
        found |= _end(key, run, test, description)
    same = differs_from is None and found.get("weights_same", True)
    typer.echo(json.dumps({"same": same, **found}, indent=2) if as_json else _words(found))
    if not same:
        raise typer.Exit(1)


def _committed(key: str, description: "Description") -> None:
    """Raise FashionError unless what git holds of an architecture is the result of this very training."""
    from fashion import FashionError
    from fashion.files import read_json

    scores = Path(f"metrics/evaluate/{key}.json")
    stage = f"models/dvc.yaml:evaluate@{key}"
    if not scores.is_file() or read_json(scores).get("training") != description.identity:
        raise FashionError(f"{key} has no result of today's settings and code: dvc repro {stage} makes it.")
    files = [str(scores), f"metrics/history/{key}.csv", f"metrics/predictions/{key}.csv", LOCK]
    status = ["git", "status", "--porcelain", "--", *files]
    done = subprocess.run(status, check=False, capture_output=True, encoding="utf-8")  # noqa: S603 - no shell
    if done.returncode or done.stdout:
        raise FashionError(f"{', '.join(files)} are not all as committed: commit them, or undo with git restore.")


def _images(description: "Description") -> "tuple[Part, Part, Part]":
    """Images that train, validate and test, by way of a temporary folder."""
    import numpy as np

    from fashion.data import read_part
    from fashion.fetching import MIRROR, fetch
    from fashion.splitting import split

    with TemporaryDirectory() as folder:
        list(fetch(description.dataset, Path(folder), os.environ.get(MIRROR)))
        whole, test = (read_part(Path(folder), part) for part in ("train", "test"))
    manifest = split(whole.labels, **description.split.model_dump())
    train, validation = (whole.take(np.flatnonzero(manifest["part"] == part)) for part in ("train", "validation"))
    return train, validation, test


def _first_difference(
    key: str, run: "Run", train: "Part", validation: "Part", last: int, say: Callable[[str], object]
) -> int | None:
    """Train so many epochs; the first one of which a figure differs from the committed history, None if none does."""
    import pandas as pd

    from fashion import training
    from fashion.running.progress import epoch_lines, step_bar

    history = pd.read_csv(f"metrics/history/{key}.csv", index_col="epoch", float_precision="round_trip")
    line, different = epoch_lines(last), []
    with step_bar(last * training.steps_per_epoch(len(train.labels), run.architecture.train)) as bar:
        for epoch in training.train(run, train, validation, bar.update):
            with bar.external_write_mode():
                say(line(epoch))
            if any(getattr(epoch, str(name)) != value for name, value in history.loc[epoch.number].items()):
                different.append(epoch.number)
            if epoch.number == last:
                break
    return min(different, default=None)


def _end(key: str, run: "Run", test: "Part", description: "Description") -> dict[str, Any]:
    """Whether the weights have the sum in the lock; if not, how many labels of the test images differ, and the test."""
    import pandas as pd
    from ruamel.yaml import YAML

    from fashion import weights
    from fashion.predictions import finite_logits
    from fashion.significance import mcnemar

    stages = YAML(typ="safe").load(Path(LOCK).read_text(encoding="utf-8"))["stages"]
    sums = {out["path"]: out["md5"] for out in stages[f"train@{key}"]["outs"]}
    chosen = max(epoch.number for epoch in run.epochs if epoch.best)
    content = weights.dumps(run.best, weights.header(description, run.hardware) | {"epoch": chosen})
    if hashlib.md5(content, usedforsecurity=False).hexdigest() == sums[f"models/{key}.safetensors"]:
        return {"weights_same": True}
    run.network.load_state_dict(run.best)
    output = finite_logits(run.network, test.images, description.architecture.pixels, run.hardware.device)
    table = pd.read_csv(f"metrics/predictions/{key}.csv")
    truth, before, after = table["truth"].to_numpy(), table["prediction"].to_numpy(), output.argmax(1).numpy()
    paired = mcnemar(truth, before, after)
    labels = {"labels_different": int((before != after).sum()), "test": paired._asdict(), "words": paired.words}
    return {"weights_same": False, **labels}


def _words(found: dict[str, Any]) -> str:
    epoch, weights_same = found["differs_from"], found.get("weights_same", True)
    if epoch is None and weights_same:
        weights = ", and the same weights" if "weights_same" in found else ""
        return f"{found['model']}: the same bytes as committed: the figures of {found['epochs']} epochs{weights}"
    where = f"from epoch {epoch} on" if epoch else "in the weights alone"
    labels = f"; {found['labels_different']:,} predicted labels differ, {found['words']}" if not weights_same else ""
    return f"{found['model']}: differs from what is committed {where}{labels}"
