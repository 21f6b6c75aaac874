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

    from fashion import training, weights
    from fashion.data import CLASSES, read_part, read_split
    from fashion.files import write_bytes
    from fashion.hardware import choose
    from fashion.networks import build, count
    from fashion.params import Params
    from fashion.progress import epoch_lines, step_bar

    params = Params.load()
    row = params.architecture(key)
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    parts = read_split(Path(f"data/splits/{row.split}.csv"), read_part(Path("data/raw"), "train"))
    network = build(row.layers, row.init, params.seed)
    typer.echo(f"{key}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")

    started = time.monotonic()
    bar = step_bar(row.train.epochs * training.steps_per_epoch(len(parts[0].labels), row.train))
    line = epoch_lines(row.train.epochs)
    kept: tuple[int, dict[str, torch.Tensor]] = 0, {}
    with bar, Live(f"metrics/train/{key}", save_dvc_exp=False, report=None, dvcyaml=None) as live:
        for epoch in training.train(network, *parts, row, params.seed, hardware, bar.update):
            with bar.external_write_mode():
                typer.echo(line(epoch))
            live.step = epoch.number
            for name in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                live.log_metric(name, getattr(epoch, name))
            live.make_summary()
            if epoch.best:
                kept = epoch.number, training.snapshot(network)
    header = {
        "model": key,
        "dataset": params.data.dataset,
        "classes": CLASSES[params.data.dataset],
        "architecture": row.model_dump(mode="json"),
        "seed": params.seed,
        "hardware": hardware.settings(),
        "torch": torch.__version__,
        "epoch": kept[0],
    }
    write_bytes(Path(f"models/{key}.safetensors"), weights.dumps(kept[1], header))
    elapsed = time.monotonic() - started
    typer.echo(f"{key}: trained in {elapsed:.0f} s; kept the weights of epoch {kept[0]}, the best on validation")
