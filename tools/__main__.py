"""The command line of the tools: python -m tools TOOL.

A command imports its tool only when it runs, so that --help answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from fashion.cli.advice import explained
from fashion.cli.lifetime import end_when_asked
from fashion.environment import prepare, use
from fashion.settings.params import Params, gpu
from stages.__main__ import program

Key = Annotated[str, typer.Argument(help="A key of `models`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

app = program("Tools to run apart from the pipeline. Example: python -m tools models lenet5")


@app.command()
def models(
    key: Annotated[str | None, typer.Argument(help="A key of `models`, to show its layers.")] = None,
    as_json: AsJson = False,
    stages: Annotated[bool, typer.Option("--stages", help="Print a stage for each training, longest first.")] = False,
) -> None:
    """List the architectures with their parameters, splits and published numbers, or the layers of one.

    Example: python -m tools models lenet5
    """
    from tools.models import models, trainings

    if stages:
        trainings(key)
    else:
        models(key, as_json)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders (without their subfolders).")],
    model: Annotated[str | None, typer.Option(help="A key of `models` instead of the one that `model` names.")] = None,
    top: Annotated[int, typer.Option(min=1, max=10, help="The number of classes to show.")] = 3,
    as_json: AsJson = False,
    save: Annotated[Path | None, typer.Option(help="A folder for the 28x28 pictures that the network sees.")] = None,
) -> None:
    """Show the likeliest classes of the item in each picture, one item on a plain background.

    Files that cannot be read are listed at the end, and the exit code is then 1.
    Example: python -m tools predict photo.jpg pictures/ --model cnn
    """
    use(gpu().kernels)
    from tools.predict import predict

    predict(images, model, top, as_json, save)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="safetensors: this project's, or with tensors of the same names.")],
    model: Annotated[str, typer.Option(help="The key of `models` that the weights belong to.")],
    as_json: AsJson = False,
) -> None:
    """Evaluate a file of weights on the data and the split of params.yaml, as the stage evaluate does.

    A file made by others does not say which images it was trained on; its scores on those images are too high.
    Example: python -m tools score models/lenet5-0.safetensors --model lenet5
    """
    use(gpu().kernels)
    from tools.score import score

    score(file, model, as_json)


@app.command()
def export(
    key: Key,
    output: Annotated[Path | None, typer.Option(help="The file to write, instead of models/KEY.onnx.")] = None,
) -> None:
    """Write a trained network as ONNX, if onnxruntime's logits match the network's up to rounding.

    The input `images` is uint8 (n, 28, 28) for any n, as stored: 0 is the
    background; scaling is part of the file. The outputs `probabilities` and
    `logits` are float32 (n, 10). The metadata has the names of the classes.
    Example: python -m tools export lenet5
    """
    use(gpu().kernels)
    from tools.export import export

    export(key, output)


@app.command()
def card(
    key: Key,
    output: Annotated[Path | None, typer.Option(help="The file to write, instead of models/KEY.md.")] = None,
) -> None:
    """Write a model card: data, protocol, accuracies, calibration and limits of a trained network.

    It is Markdown with the metadata that model hubs read. Example: python -m tools card lenet5
    """
    from tools.card import card

    card(key, output)


@app.command()
def diff(
    base: Annotated[str | None, typer.Argument(help="A commit; by default the one where HEAD left main.")] = None,
) -> None:
    """Print as Markdown which accuracies changed since a commit, and whether that is more than noise.

    dvc params diff and dvc metrics diff show settings and figures; this adds paired tests. On main itself the default
    is the last commit. Git's files are enough: no DVC cache, no remote.
    Example: python -m tools diff HEAD~1
    """
    from tools.diff import diff

    diff(base)


@app.command()
def outcome(
    since: Annotated[float | None, typer.Option(help="When dvc repro began, in seconds as date +%s gives.")] = None,
) -> None:
    """Say what the last dvc repro gave, whether it is the committed result, and what to do next.

    Example: python -m tools outcome
    """
    from tools.outcome import outcome

    outcome(since)


@app.command()
def compare(
    file: Annotated[
        Path, typer.Argument(help="A label for each test image, or ten scores: a table, JSON, .npy or .npz.")
    ],
    name: Annotated[str | None, typer.Option(help="What the table calls it, instead of the file's name.")] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    page: Annotated[Path | None, typer.Option(help="A page to write, with pictures of the images that decide.")] = None,
) -> None:
    """Compare anyone's predicted labels of the test images with every committed network.

    Labels are 0 to 9 or names of classes, in the order of the test images or of a column that numbers them: one a line,
    or in a column called prediction or label. Of ten columns the largest counts; a header can name their classes.
    Example: python -m tools compare metrics/predictions/cnn-0.csv --page compared.html
    """
    from tools.compare import compare

    compare(file, name, as_json, as_markdown, page)


@app.command()
def verify(
    key: Annotated[str | None, typer.Argument(help="A key of `models`; by default the one that `model` names.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Compare this number of epochs only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train an architecture again and compare every figure of every epoch, then the weights, with the committed ones.

    Nothing in the project's folder changes. The exit code is 1 if something differs.
    Example: python -m tools verify lenet5 --epochs 3
    """
    params = Params.load()
    prepare(params.gpu.kernels, params.architecture(key or params.model).train.precision)
    from tools.verify import verify

    verify(key, epochs, as_json)


@app.command()
def same(
    base: Annotated[
        str | None, typer.Argument(help="A commit; by default the last one whose code is recorded.")
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys of `models`; by default all.", metavar="[KEY]...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the code in this folder with that of a commit: every row trains on digits with both, for two epochs.

    Rows whose weights, histories, predictions and scores are the same bytes keep the identity that their code had, so
    that their results stay current; the others train again. The file code.json says which is which.
    Example: python -m tools same HEAD lenet5 cnn
    """
    from tools.same import same

    same(base, keys or [], as_json)


@app.command()
def ablation(
    key: Key,
    seeds: Annotated[int, typer.Option(min=2, max=16, help="Trainings of each, with seeds 0, 1, ...")] = 9,
) -> None:
    """Train a recipe, and the recipe without each of its ingredients; compare the validation accuracies.

    Ingredients are augmentation, label smoothing, weight decay, schedule and warm-up. Each training is a DVC experiment
    on the last commit, in a folder of its own; an experiment that exists already is not run again. The figures go to
    metrics/ablation, and the stage results shows them. Example: python -m tools ablation cnn
    """
    from tools.ablation import ablation

    ablation(key, seeds)


if __name__ == "__main__":
    with explained():
        end_when_asked()
        app(prog_name="python -m tools")
