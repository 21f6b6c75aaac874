"""The command line of the stages: python -m stages STAGE [NAME].

A command imports its stage only when it runs, so that --help answers at once.
"""

import os
import re
from typing import Annotated

import typer

from fashion.cli.advice import explained
from fashion.cli.lifetime import dvc, end_when_asked
from fashion.environment import prepare, use
from fashion.errors import FashionError
from fashion.repository.locks import losses
from fashion.settings.description import Description, unchanged
from fashion.settings.params import gpu


def _name(text: str) -> str:
    """What may be the name of a training, and thus of its files."""
    if re.fullmatch("[a-z0-9_-]+", text):
        return text
    raise FashionError(f"no training is called {text!r}: a name is KEY-SEED, lenet5-0 for example.")


Name = Annotated[str, typer.Argument(help="A key of `models` and one of its seeds.", metavar="KEY-SEED", parser=_name)]


def program(words: str) -> typer.Typer:
    """A command line of several commands, which shows its help if none is given."""
    return typer.Typer(help=words, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


app = program("The stages that DVC runs, one command each. Example: python -m stages train lenet5-0")


@app.command()
def check() -> None:
    """Validate params.yaml, every architecture included, and write what the other stages depend on.

    That is a description of each training, the identity of each stage's code, and the counts of each split. If
    something became stale, a line says through what. Example: python -m stages check
    """
    from stages.check import check

    check()


@app.command()
def download() -> None:
    """Copy or fetch the data set from the first source with correct files; keep correct files that are here.

    Fashion-MNIST is part of the repository. FASHION_MNIST_MIRROR names a folder or URL to try first.
    Example: FASHION_MNIST_MIRROR=~/fashion-mnist python -m stages download
    """
    from stages.download import download

    download()


@app.command()
def samples() -> None:
    """Draw three rows of training images of each class: plots/samples.png.

    Example: python -m stages samples
    """
    from stages.samples import samples

    samples()


@app.command()
def split() -> None:
    """Draw the split of each architecture and write it as a table: index, label, part.

    Example: python -m stages split
    """
    from stages.split import split

    split()


@app.command()
def train(name: Name) -> None:
    """Train an architecture as its description says, and keep the weights of its best validation epoch.

    Best by accuracy, then by loss. Every epoch is logged under metrics/train.
    Example: python -m stages train lenet5-0
    """
    description = Description.of(name)
    prepare(description.gpu.kernels, description.architecture.train.precision)
    from stages.train import train

    with unchanged(name):
        train(name)


@app.command()
def evaluate(name: Name) -> None:
    """Evaluate the kept weights of a training, in full precision, without augmentation, and write its history.

    Example: python -m stages evaluate lenet5-0
    """
    prepare(gpu().kernels)
    from stages.evaluate import evaluate

    evaluate(name)


@app.command()
def report() -> None:
    """Report the architecture that `model` names: metrics/report.json, and plots with the page report.html.

    Example: python -m stages report
    """
    from stages.report import report

    report()


@app.command()
def neighbours() -> None:
    """Find the training image that is most like each test image: metrics/neighbours.csv.

    Example: python -m stages neighbours
    """
    # Whatever gpu.kernels says: rounded distances choose the images whose exact distances are compared.
    use("portable")
    from stages.neighbours import neighbours

    neighbours()


@app.command()
def leaderboard() -> None:
    """Rank every evaluated architecture, next to its published accuracies.

    Example: python -m stages leaderboard
    """
    from stages.leaderboard import leaderboard

    leaderboard()


@app.command()
def results() -> None:
    """Compare all trainings with the published figures and each other: docs/results.md, pictures, README's tables.

    Example: python -m stages results
    """
    from stages.results import results

    results()


if __name__ == "__main__":
    with explained():
        end_when_asked()
        if "DVC_STAGE" in os.environ:
            for loss in losses(dvc()):
                typer.echo(loss, err=True)
        app(prog_name="python -m stages")
