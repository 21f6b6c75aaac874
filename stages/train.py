"""Stage train: one architecture's weights and the history of their making."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fashion.data import Part
    from fashion.training import Epoch, Run


def train(key: Annotated[str, typer.Argument(help="A key of `models`.")]) -> None:
    """Train an architecture and keep the weights of its best validation epoch.

    Best by accuracy, then by loss; every epoch is logged under metrics/train.
    Example: python -m stages train lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    import torch

    from fashion import checkpoints, parallel
    from fashion.data import CLASSES, read_part, read_split
    from fashion.hardware import choose
    from fashion.networks import build, count
    from fashion.params import Params
    from fashion.training import begin

    params = Params.load()
    row = params.architecture(key)
    if parallel.wanted(params.gpu.processes):
        parallel.launch(params.gpu.processes, "train", key)
        return
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    parts = read_split(Path(f"data/splits/{row.split}.csv"), read_part(Path("data/raw"), "train"))
    network = build(row.layers, row.init, params.seed)
    header = {
        "model": key,
        "dataset": params.data.dataset,
        "classes": CLASSES[params.data.dataset],
        "architecture": row.model_dump(mode="json"),
        "seed": params.seed,
        "hardware": hardware.settings(),
        "torch": torch.__version__,
    }
    arrays = (array for part in parts for array in (part.images, part.labels))
    name = checkpoints.identity(header | {"processor": hardware.name}, *arrays)
    run = begin(network, row, params.seed, hardware)
    with parallel.group(hardware):
        if hardware.rank == 0:
            typer.echo(f"{key}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")
            _lead(run, parts, name, header)
        else:
            _follow(run, parts)


def _lead(run: "Run", parts: "tuple[Part, Part]", name: str, header: dict[str, Any]) -> None:
    """Train as the only process or the first one, which speaks, logs, saves and writes for all."""
    from dvclive import Live

    from fashion import FashionError, checkpoints, parallel, training, weights
    from fashion.files import write_bytes
    from fashion.progress import epoch_lines, step_bar

    key, recipe = header["model"], run.architecture.train
    started = time.monotonic()
    with (
        checkpoints.kept(name, typer.echo) as checkpoint,
        Live(f"metrics/train/{key}", save_dvc_exp=False, report=None, dvcyaml=None) as live,
    ):

        def log(epoch: "Epoch") -> None:
            live.step = epoch.number
            for figure in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                live.log_metric(figure, getattr(epoch, figure))
            live.make_summary()

        if content := parallel.shared(checkpoint.read(), run.hardware):
            run.resume(*checkpoints.parse(content))
            typer.echo(f"{key}: goes on after epoch {len(run.epochs)}")
        for epoch in run.epochs:
            log(epoch)
        steps = training.steps_per_epoch(len(parts[0].labels), recipe)
        line = epoch_lines(recipe.epochs, len(run.epochs))
        try:
            with step_bar(recipe.epochs * steps, len(run.epochs) * steps) as bar:
                for epoch in training.train(run, *parts, bar.update):
                    with bar.external_write_mode():
                        typer.echo(line(epoch))
                    log(epoch)
                    if epoch.number < recipe.epochs:
                        checkpoint.save(run.state)
        except KeyboardInterrupt:
            raise FashionError(
                f"{key}: interrupted in epoch {len(run.epochs) + 1}; the same command goes on."
            ) from None
        chosen = max(epoch.number for epoch in run.epochs if epoch.best)
        write_bytes(Path(f"models/{key}.safetensors"), weights.dumps(run.best, header | {"epoch": chosen}))
    elapsed = time.monotonic() - started
    typer.echo(f"{key}: trained in {elapsed:.0f} s; kept the weights of epoch {chosen}, the best on validation")


def _follow(run: "Run", parts: "tuple[Part, Part]") -> None:
    """Train along with the first process, which also says what is wrong."""
    from fashion import FashionError, checkpoints, parallel, training

    with suppress(FashionError, KeyboardInterrupt):
        if content := parallel.shared(None, run.hardware):
            run.resume(*checkpoints.parse(content))
        for _ in training.train(run, *parts):
            pass
