"""The command line of the benchmarks: python -m benchmarks COMMAND."""

from pathlib import Path
from typing import Annotated

import typer

from fashion.cli.advice import explained
from stages.__main__ import program

Keys = Annotated[list[str] | None, typer.Argument(help="Keys of `models`; by default a selection.", metavar="[KEY]...")]
Rounds = Annotated[int, typer.Option(help="The number of measurements of each, interleaved.", min=1)]
Output = Annotated[Path, typer.Option(help="The file for the figures, as JSON.")]

app = program(
    "Timings, side by side where they are compared, and counts of photos. Example: python -m benchmarks training cnn"
)


@app.command()
def training(
    keys: Keys = None,
    rounds: Rounds = 5,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also measure next to a process that keeps a core busy.")
    ] = False,
    output: Output = Path("benchmarks/training.json"),
) -> None:
    """Time a training step of each architecture and print medians, spreads and ratios.

    Batches of 128, Adam, no augmentation. Lightning, Keras and JAX take part once `make peers` has installed them. Rows
    measured before on the same machine stay.
    Example: python -m benchmarks training cnn alexnet
    """
    from benchmarks.training import training

    training(keys, rounds, busy, output)


@app.command()
def epochs(keys: Keys = None, output: Output = Path("benchmarks/epochs.json")) -> None:
    """Time one epoch of every architecture by its own recipe, validation included.

    Rows measured before on the same machine stay.
    Example: python -m benchmarks epochs lenet5
    """
    from benchmarks.epochs import epochs

    epochs(keys, output)


@app.command()
def accuracy(keys: Keys = None, output: Output = Path("benchmarks/accuracy.json")) -> None:
    """Time each training until its validation accuracy reaches the published figure, or to its end.

    Example: python -m benchmarks accuracy fcnn
    """
    from benchmarks.accuracy import accuracy

    accuracy(keys, output)


@app.command()
def pipeline(rounds: Rounds = 5, output: Output = Path("benchmarks/pipeline.json")) -> None:
    """Time make setup, repro and test once in a clone of HEAD, and dvc repro with nothing to do.

    Next to it, dvc repro in a project of one stage.

    Example: python -m benchmarks pipeline
    """
    from benchmarks.pipeline import pipeline

    pipeline(rounds, output)


@app.command()
def gpu(
    minutes: Annotated[float, typer.Option(help="The time for all of it; what does not fit is listed.", min=0)] = 15,
    seeds: Annotated[int, typer.Option(help="The number of trainings to an accuracy, each with its seed.", min=0)] = 3,
    output: Output = Path("benchmarks/gpu.json"),
) -> None:
    """On a CUDA GPU, time a step in several forms, trainings by their recipes, and trainings to an accuracy.

    A step has 128 images, Adam and no augmentation. The figures are written after each measurement.
    Example: python -m benchmarks gpu --minutes 8
    """
    from benchmarks.gpu import gpu

    gpu(minutes, seeds, output)


@app.command()
def photos(output: Output = Path("benchmarks/photos.json")) -> None:
    """Count the photos that `predict` gives the class of the image in them, for each thing that a camera adds.

    Sixty test images each, in made-up photos; the networks are lenet5 and alexnet. It takes some minutes.
    Example: python -m benchmarks photos
    """
    from benchmarks.photos import photos

    photos(output)


@app.command()
def tables() -> None:
    """Write the tables of docs/speed.md and docs/predict.md from the committed figures.

    Example: python -m benchmarks tables
    """
    from benchmarks.tables import tables

    tables()


if __name__ == "__main__":
    with explained():
        app(prog_name="python -m benchmarks")
