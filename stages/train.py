"""Stage train: one architecture's weights and the history of their making."""

import time
from pathlib import Path
from typing import Annotated

import typer


def train(key: Annotated[str, typer.Argument(help="A key of `models`.")]) -> None:
    """Train an architecture and keep the weights of its best validation epoch.

    Best by accuracy, then by loss; every epoch is logged under metrics/train.
    Example: python -m stages train lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    import torch
    from dvclive import Live

    from fashion import FashionError, checkpoints, training, weights
    from fashion.data import CLASSES, read_part, read_split
    from fashion.files import write_bytes
    from fashion.hardware import choose
    from fashion.networks import build, count
    from fashion.params import Params
    from fashion.progress import epoch_lines, step_bar

    started = time.monotonic()
    params = Params.load()
    row = params.architecture(key)
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    parts = read_split(Path(f"data/splits/{row.split}.csv"), read_part(Path("data/raw"), "train"))
    network = build(row.layers, row.init, params.seed)
    typer.echo(f"{key}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")
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
    run = training.begin(network, row, params.seed, hardware)
    with (
        checkpoints.kept(name, typer.echo) as checkpoint,
        Live(f"metrics/train/{key}", save_dvc_exp=False, report=None, dvcyaml=None) as live,
    ):

        def log(epoch: training.Epoch) -> None:
            live.step = epoch.number
            for figure in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                live.log_metric(figure, getattr(epoch, figure))
            live.make_summary()

        if state := checkpoint.load():
            run.resume(*state)
            typer.echo(f"{key}: goes on after epoch {len(run.epochs)}")
        for epoch in run.epochs:
            log(epoch)
        steps = training.steps_per_epoch(len(parts[0].labels), row.train)
        line = epoch_lines(row.train.epochs, len(run.epochs))
        try:
            with step_bar(row.train.epochs * steps, len(run.epochs) * steps) as bar:
                for epoch in training.train(run, *parts, bar.update):
                    with bar.external_write_mode():
                        typer.echo(line(epoch))
                    log(epoch)
                    if epoch.number < row.train.epochs:
                        checkpoint.save(run.state)
        except KeyboardInterrupt:
            raise FashionError(
                f"{key}: interrupted in epoch {len(run.epochs) + 1}; the same command goes on."
            ) from None
        chosen = max(epoch.number for epoch in run.epochs if epoch.best)
        write_bytes(Path(f"models/{key}.safetensors"), weights.dumps(run.best, header | {"epoch": chosen}))
    elapsed = time.monotonic() - started
    typer.echo(f"{key}: trained in {elapsed:.0f} s; kept the weights of epoch {chosen}, the best on validation")
