"""Stage train: one architecture's weights and the history of their making."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fashion.data import Part
    from fashion.training import Epoch, Run


def train(
    name: Annotated[str, typer.Argument(help="A key of `models`, or a key of `repeats`.", metavar="KEY")],
) -> None:
    """Train an architecture as its description says, and keep the weights of its best validation epoch.

    Best by accuracy, then by loss; every epoch is logged under metrics/train.
    Example: python -m stages train lenet5
    """
    from fashion.running import inputs
    from fashion.running.environment import prepare

    prepare(inputs.gpu().kernels)

    from fashion import weights
    from fashion.data import read_part, read_split
    from fashion.hardware import choose
    from fashion.networks import build, count
    from fashion.running import checkpoints, parallel
    from fashion.training import begin

    description, gpu = inputs.described(name), inputs.gpu()
    if parallel.wanted(gpu.processes):
        parallel.launch(gpu.processes, "train", name)
        return
    with parallel.one_voice():
        hardware = choose(device=gpu.device, **description.gpu.model_dump())
    parts = read_split(Path(f"data/splits/{description.model}.csv"), read_part(Path("data/raw"), "train"))
    row = description.architecture
    network = build(row.layers, row.init, description.seed)
    header = weights.header(description, hardware)
    arrays = (array for part in parts for array in (part.images, part.labels))
    identity = checkpoints.identity(header | {"processor": hardware.name}, *arrays)
    run = begin(network, row, description.seed, hardware)
    with parallel.group(hardware):
        if hardware.rank == 0:
            typer.echo(f"{name}: {count(network)[0]:,} parameters, {len(parts[0].labels):,} images, {hardware.why}")
            _lead(name, run, parts, identity, header)
        else:
            _follow(run, parts)


def _lead(name: str, run: "Run", parts: "tuple[Part, Part]", identity: str, header: dict[str, Any]) -> None:
    """Train as the only process or the first one, which speaks, logs, saves and writes for all."""
    from dvclive import Live

    from fashion import FashionError, training, weights
    from fashion.files import write_bytes
    from fashion.running import checkpoints, parallel
    from fashion.running.progress import epoch_lines, step_bar

    recipe, weights_file = run.architecture.train, Path(f"models/{name}.safetensors")
    started = time.monotonic()
    with (
        checkpoints.kept(identity, weights_file, typer.echo) as checkpoint,
        Live(f"metrics/train/{name}", save_dvc_exp=False, report=None, dvcyaml=None) as live,
    ):

        def log(epoch: "Epoch") -> None:
            live.step = epoch.number
            for figure in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                live.log_metric(figure, getattr(epoch, figure))
            live.make_summary()

        if content := parallel.shared(checkpoint.read(), run.hardware):
            run.resume(*checkpoints.parse(content))
            typer.echo(f"{name}: goes on after epoch {len(run.epochs)}")
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
                    checkpoint.save(run.state, last=epoch.number == recipe.epochs)
        except KeyboardInterrupt:
            raise FashionError(
                f"{name}: interrupted in epoch {len(run.epochs) + 1}; the same command goes on."
            ) from None
        chosen = max(epoch.number for epoch in run.epochs if epoch.best)
        write_bytes(weights_file, weights.dumps(run.best, header | {"epoch": chosen}))
    elapsed = time.monotonic() - started
    typer.echo(f"{name}: trained in {elapsed:.0f} s; kept the weights of epoch {chosen}, the best on validation")


def _follow(run: "Run", parts: "tuple[Part, Part]") -> None:
    """Train along with the first process, which also says what is wrong."""
    from fashion import FashionError, training
    from fashion.running import checkpoints, parallel

    with suppress(FashionError, KeyboardInterrupt):
        if content := parallel.shared(None, run.hardware):
            run.resume(*checkpoints.parse(content))
        for _ in training.train(run, *parts):
            pass
