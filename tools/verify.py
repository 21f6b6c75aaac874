"""Tool verify: whether a training gives the committed bytes again on this machine."""

import json
import os
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from fashion.data.fetching import MIRROR, fetch
from fashion.data.reading import Part, read_part, read_split
from fashion.data.splitting import split
from fashion.errors import FashionError
from fashion.files import md5
from fashion.frames import write_csv
from fashion.judging.comparing import mcnemar
from fashion.judging.evaluated import Scores, read_history, read_predictions, read_scores, scores_file
from fashion.networks import weights
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.networks.inference import finite_logits
from fashion.repository.commands import output
from fashion.settings.description import Description
from fashion.settings.params import Params, stage
from fashion.training import engine
from fashion.training.engine import Run
from fashion.training.progress import progress


def verify(key: str | None, epochs: int | None, as_json: bool) -> None:
    """Train again and print what differs from the committed result."""
    params = Params.load()
    key = key or params.model
    name, description = params.name(key), params.describe(key)
    committed = _committed(name, description)["weights"]
    row = description.architecture
    hardware = choose(params.gpu.device, description.gpu, row.train.precision)
    run = engine.begin(build(row.layers, row.init, description.seed), row, description.seed, hardware)
    last = min(epochs or row.train.epochs, row.train.epochs)
    say = partial(typer.echo, err=as_json)
    say(f"{key}: {last} of {row.train.epochs} epochs, {hardware.why}")
    train, validation, test = _images(description)
    try:
        differs_from = _first_difference(name, run, train, validation, last, say)
    except KeyboardInterrupt:
        raise FashionError(f"{key}: interrupted; nothing was written.") from None
    found = {"model": key, "epochs": last, "differs_from": differs_from}
    if last == row.train.epochs:
        found |= _compare_weights(name, run, test, description, committed)
    same = differs_from is None and found.get("weights_same", True)
    typer.echo(json.dumps({"same": same, **found}, indent=2) if as_json else _words(found))
    if not same:
        raise typer.Exit(1)


def _committed(name: str, description: Description) -> Scores:
    """The scores of this training; FashionError unless git holds its whole result."""
    scores = read_scores(name, description.identity)
    if scores is None:
        address = stage("evaluate", name)
        raise FashionError(f"{name} has no result for the current settings and code: dvc repro {address} makes it.")
    files = [str(scores_file(name)), f"metrics/history/{name}.csv", f"metrics/predictions/{name}.csv"]
    if output("git", "status", "--porcelain", "--", *files):
        raise FashionError(f"{', '.join(files)} are not all committed: commit them, or undo with git restore.")
    return scores


def _images(description: Description) -> tuple[Part, Part, Part]:
    """The images for training, validation and test, fetched to a temporary folder."""
    with TemporaryDirectory() as folder:
        list(fetch(description.dataset, Path(folder), os.environ.get(MIRROR)))
        whole, test = (read_part(Path(folder), part) for part in ("train", "test"))
        manifest = Path(folder, "split.csv")
        write_csv(manifest, split(whole.labels, **description.split.model_dump()))
        return *read_split(manifest, whole), test


def _first_difference(
    name: str, run: Run, train: Part, validation: Part, last: int, say: Callable[[str], object]
) -> int | None:
    """Train up to the epoch `last`; return the first with a figure that differs from the committed history, or None."""
    history = read_history(name).set_index("epoch")
    if len(history) != (epochs := run.architecture.train.epochs):
        raise FashionError(f"the history of {name} has {len(history)} epochs, and its recipe {epochs}: run dvc repro.")
    different = []
    with progress(run, len(train.labels), last, say) as (after_step, show):
        for epoch in islice(engine.train(run, train, validation, after_step), last):
            show(epoch)
            if any(getattr(epoch, str(figure)) != value for figure, value in history.loc[epoch.number].items()):
                different.append(epoch.number)
    return min(different, default=None)


def _compare_weights(name: str, run: Run, test: Part, description: Description, committed: str) -> dict[str, Any]:
    """Whether the weights have the committed sum; if not, how many predicted labels differ, and the paired test."""
    chosen = max(epoch.number for epoch in run.epochs if epoch.best)
    content = weights.dumps(run.best, weights.header(description, run.hardware.record()) | {"epoch": chosen})
    if md5(content) == committed:
        return {"weights_same": True}
    run.network.load_state_dict(run.best)
    logits = finite_logits(run.network, test.images, description.architecture.pixels, run.hardware.device)
    truth, before = read_predictions(name)
    after = logits.argmax(1).numpy()
    paired = mcnemar(truth, before, after)
    labels = {"labels_different": int((before != after).sum()), "test": paired._asdict(), "words": paired.words}
    return {"weights_same": False, **labels}


def _words(found: dict[str, Any]) -> str:
    """The result in one sentence."""
    epoch, weights_same = found["differs_from"], found.get("weights_same", True)
    if epoch is None and weights_same:
        weights = ", and the same weights" if "weights_same" in found else ""
        return f"{found['model']}: the same bytes as committed: the figures of {found['epochs']} epochs{weights}"
    where = f"from epoch {epoch} on" if epoch else "in the weights' file alone"
    labels = f"; {found['labels_different']:,} predicted labels differ, {found['words']}" if not weights_same else ""
    return f"{found['model']}: differs from the committed result {where}{labels}"
