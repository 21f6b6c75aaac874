"""Stage train: the weights of one training, and the figures of its epochs."""

import re
import time
from contextlib import suppress
from pathlib import Path

import typer
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvclive import Live
from scmrepo.exceptions import SCMError

from fashion.data.reading import read_part, read_split
from fashion.errors import FashionError
from fashion.files import write_bytes
from fashion.networks import weights
from fashion.networks.building import build, count
from fashion.networks.hardware import choose
from fashion.settings.description import Description
from fashion.settings.params import gpu
from fashion.training import checkpoints, engine
from fashion.training.engine import Epoch
from fashion.training.progress import progress

# What DVC and dvclive raise in a repository that they cannot read.
UNUSABLE = (SCMError, ValueError, re.error)


def train(name: str) -> None:
    """Train as the description of that name says, from the last checkpoint if there is one."""
    description = Description.of(name)
    row = description.architecture
    hardware = choose(gpu().device, description.gpu, row.train.precision)
    parts = read_split(Path(f"data/splits/{description.model}.csv"), read_part(Path("data/raw"), "train"))
    network = build(row.layers, row.init, description.seed)
    typer.echo(f"{name}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")
    run = engine.begin(network, row, description.seed, hardware)
    header, file = weights.header(description, hardware.record()), Path(f"models/{name}.safetensors")
    identity = checkpoints.identity(header, parts)
    started = time.monotonic()
    with checkpoints.opened(identity, file, _recorded, typer.echo) as checkpoint, _opened(name) as live:
        if content := checkpoint.read():
            run.resume(*checkpoints.parse(content))
            typer.echo(f"{name}: resumes after epoch {len(run.epochs)}")
        for epoch in run.epochs:
            _log(live, epoch)
        try:
            with progress(run, len(parts[0].labels), row.train.epochs, typer.echo) as (after_step, show):
                for epoch in engine.train(run, *parts, after_step):
                    show(epoch)
                    _log(live, epoch)
                    checkpoint.save(run.state, last=epoch.number == row.train.epochs)
        except KeyboardInterrupt:
            raise FashionError(
                f"{name}: interrupted in epoch {len(run.epochs) + 1}; the same command resumes the training."
            ) from None
        chosen = max(epoch.number for epoch in run.epochs if epoch.best)
        write_bytes(file, weights.dumps(run.best, header | {"epoch": chosen}))
    elapsed = time.monotonic() - started
    typer.echo(f"{name}: trained in {elapsed:.0f} s; kept the weights of epoch {chosen}, the best on validation")


def _recorded(md5: str) -> bool:
    """Whether DVC's cache has a file of that MD5 sum: DVC stores a result there before it writes its lock.

    The lock itself does not tell: a clone's lock names the results of others.
    """
    # Where there is no DVC, nobody records; what a training wrote is all that will be.
    if not Path(".dvc").is_dir():
        return True
    with suppress(DvcException, *UNUSABLE):
        return bool(Repo().cache.local.exists(md5))
    return False


def _opened(name: str) -> Live:
    """Dvclive's writer of a training's figures."""
    try:
        return Live(f"metrics/train/{name}", save_dvc_exp=False, report=None, dvcyaml=None)
    except UNUSABLE as error:
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
