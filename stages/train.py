"""Stage train: one architecture's weights and the history of its training."""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from dvclive import Live
from scmrepo.exceptions import SCMError

from fashion.data.reading import Part, read_part, read_split
from fashion.errors import FashionError
from fashion.files import write_bytes
from fashion.networks import weights
from fashion.networks.building import build, count
from fashion.running import checkpoints, inputs, parallel
from fashion.running.progress import shown
from fashion.training import engine
from fashion.training.engine import Epoch, Run
from fashion.training.hardware import choose

Parts = tuple[Part, Part]


def train(name: str) -> None:
    """Train an architecture or a repeat, in this process or as one of several."""
    description, gpu = inputs.described(name), inputs.gpu()
    if parallel.wanted(gpu.processes):
        # One message before they start, instead of one of each.
        choose(gpu.device, description.gpu, gpu.processes)
        parallel.launch(gpu.processes, "train", name)
        return
    with parallel.reported_once():
        hardware = choose(gpu.device, description.gpu)
    parts = read_split(Path(f"data/splits/{description.model}.csv"), read_part(Path("data/raw"), "train"))
    row = description.architecture
    network = build(row.layers, row.init, description.seed)
    run = engine.begin(network, row, description.seed, hardware)
    with parallel.group(hardware):
        if hardware.rank == 0:
            typer.echo(f"{name}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")
            _lead(name, run, parts, weights.header(description, hardware.settings()))
        else:
            _follow(run, parts)


def _lead(name: str, run: Run, parts: Parts, header: dict[str, Any]) -> None:
    """Train as the only or the first process, which reports, logs, saves and writes for all."""
    started, weights_file = time.monotonic(), Path(f"models/{name}.safetensors")
    arrays = (array for part in parts for array in (part.images, part.labels))
    identity = checkpoints.identity(header | {"processor": run.hardware.name}, *arrays)
    with checkpoints.opened(identity, weights_file, typer.echo) as checkpoint, _opened(name) as live:
        if content := parallel.shared(checkpoint.read(), run.hardware):
            run.resume(*checkpoints.parse(content))
            typer.echo(f"{name}: resumes after epoch {len(run.epochs)}")
        for epoch in run.epochs:
            _log(live, epoch)
        epochs = run.architecture.train.epochs
        try:
            for epoch in shown(run, *parts, epochs, typer.echo):
                _log(live, epoch)
                checkpoint.save(run.state, last=epoch.number == epochs)
        except KeyboardInterrupt:
            raise FashionError(
                f"{name}: interrupted in epoch {len(run.epochs) + 1}; the same command resumes the training."
            ) from None
        chosen = max(epoch.number for epoch in run.epochs if epoch.best)
        write_bytes(weights_file, weights.dumps(run.best, header | {"epoch": chosen}))
    elapsed = time.monotonic() - started
    typer.echo(f"{name}: trained in {elapsed:.0f} s; kept the weights of epoch {chosen}, the best on validation")


def _opened(name: str) -> Live:
    """Dvclive's writer of a training's figures."""
    try:
        return Live(f"metrics/train/{name}", save_dvc_exp=False, report=None, dvcyaml=None)
    except (SCMError, ValueError, re.error) as error:
        raise FashionError(
            f"dvclive cannot use this repository ({error}): it needs a first commit, "
            "and a .dvcignore and a .git/config that can be read."
        ) from None


def _log(live: Live, epoch: Epoch) -> None:
    """Write an epoch's figures to dvclive's files."""
    live.step = epoch.number
    for figure in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        live.log_metric(figure, getattr(epoch, figure))
    live.make_summary()


def _follow(run: Run, parts: Parts) -> None:
    """Train together with the first process, which reports errors for all."""
    with suppress(FashionError, KeyboardInterrupt):
        if content := parallel.shared(None, run.hardware):
            run.resume(*checkpoints.parse(content))
        for _ in engine.train(run, *parts):
            pass
