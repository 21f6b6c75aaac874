"""Stage report: the chosen model's headline numbers, plots and page, at the same paths for every model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from torch import Tensor

from fashion.data.datasets import DATASETS, FILES, SIDE
from fashion.data.reading import read_idx
from fashion.errors import FashionError
from fashion.files import write_bytes, write_json, write_text
from fashion.frames import write_csv
from fashion.judging.current import current
from fashion.judging.evaluated import Scores, accuracies, read_history, read_predictions
from fashion.networks.weights import Header
from fashion.settings.description import NO_AUGMENT, Description
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.pages import render
from fashion.using.loading import trained

# The number of the first layer's filters to show, and of images of each class.
FILTERS, SAMPLES = 96, 14
# The dimensions of a convolution's weights: output, input, row, column.
KERNEL_DIMENSIONS = 4


def report() -> None:
    """Write metrics/report.json and plots for the architecture that `model` names."""
    params = Params.load()
    key, name = params.model, params.name(params.model)
    found, _ = current({name: Description.of(name)})
    if name not in found:
        raise FashionError(f"{name} is not evaluated with the current settings and code: run dvc repro.")
    scores, (truth, prediction) = found[name], read_predictions(name)
    labels = pd.DataFrame({"truth": truth, "prediction": prediction})
    images = read_idx(Path("data/raw", FILES["test"][0]), 3)
    if not len(images) == len(labels) == scores["test"]["images"]:
        raise FashionError(f"the scores, predictions and test images of {name} differ in number: run dvc repro.")
    _write_headline(scores)
    _write_plots(name, scores, labels, images)
    write_text(Path("plots/report.html"), _page(params, scores, labels, images))

    low, high = scores["test"]["interval"]
    claim = params.claims(key).get("test_accuracy")
    published = "no test accuracy published" if claim is None else f"published {claim:.2%}"
    typer.echo(
        f"{key}: test accuracy {scores['test']['accuracy']:.2%} ({low:.2%} to {high:.2%}), {published}; "
        "more in plots/report.html"
    )


def _write_headline(scores: Scores) -> None:
    """The numbers that `dvc metrics` shows."""
    headline = {
        "model": scores["model"],
        "seed": scores["seed"],
        "split": scores["split"],
        "parameters": scores["parameters"],
    }
    headline |= accuracies(scores)
    headline |= {"test_loss": scores["test"]["loss"], "macro_f1": scores["test"]["macro_f1"]}
    write_json(Path("metrics/report.json"), headline)


def _write_plots(name: str, scores: Scores, labels: pd.DataFrame, images: NDArray[np.uint8]) -> None:
    """What `dvc plots` shows."""
    classes = DATASETS[scores["dataset"]].classes
    write_csv(Path("plots/curves.csv"), read_history(name))
    write_csv(Path("plots/confusion.csv"), labels.map(classes.__getitem__))
    write_csv(Path("plots/calibration.csv"), pd.DataFrame(scores["calibration"]))
    write_bytes(Path("plots/mistakes.png"), charts.mistakes(images, scores["mistakes"], classes))


def _page(params: Params, scores: Scores, labels: pd.DataFrame, images: NDArray[np.uint8]) -> str:
    """The page about the chosen model."""
    key, name, classes = params.model, params.name(params.model), DATASETS[scores["dataset"]].classes
    network, description, header = trained(name)
    if description.identity != scores["training"]:
        raise FashionError(f"the weights and the scores of {name} are of different trainings: run dvc repro.")
    architecture, history = description.architecture, read_history(name)
    numbers = range(len(classes))
    samples = [images[labels["truth"] == number][:SAMPLES] for number in numbers]
    counts = pd.crosstab(labels["truth"], labels["prediction"]).reindex(numbers, columns=numbers, fill_value=0)
    return render(
        "report.html",
        scores=scores,
        classes=classes,
        claims=params.claims(key),
        source=params.published.get(key) if params.claims(key) else None,
        dataset=scores["dataset"],
        epochs=architecture.train.epochs,
        augmented=architecture.train.augment != NO_AUGMENT,
        settings=_settings(header),
        curves=[
            charts.curves(history, scores["epoch"], quantity, label)
            for quantity, label in (("accuracy", "accuracy"), ("loss", "cross-entropy, nats"))
        ],
        calibration=charts.calibration(scores["calibration"]),
        confusion=counts.to_numpy().tolist(),
        mistakes=[{**row, "image": charts.sheet(255 - images[[row["index"]]], 1)} for row in scores["mistakes"]],
        samples=charts.sheet(255 - np.concatenate(samples), SAMPLES),
        filters=_filters(network.state_dict(), architecture.layers),
    )


def _settings(header: Header) -> dict[str, Any]:
    """Everything that determined the weights except the layers, with nested names joined by dots."""
    description = header["description"]
    architecture = {name: value for name, value in description["architecture"].items() if name != "layers"}
    ours = {"dataset": description["dataset"], "seed": description["seed"]}
    ours |= {"hardware": header["hardware"], "torch": header["torch"]}
    # Python's own values: the template does not recognise NumPy's booleans.
    return {str(name): value for name, value in pd.json_normalize(architecture | ours).iloc[0].to_dict().items()}


def _filters(state: dict[str, Tensor], layers: dict[str, Any]) -> dict[str, Any] | None:
    """The weights of the first layer as tiles, if each output sees a window of the image or the whole of it."""
    matrices = {name for name, tensor in state.items() if tensor.dim() > 1}
    first = next((layer for layer in layers if any(name.startswith(f"{layer}.") for name in matrices)), None)
    name = f"{first}.weight"
    if name not in state:
        return None
    weight = state[name].float()
    if weight.dim() == KERNEL_DIMENSIONS and weight.shape[1] == 1:
        tiles = weight[:, 0]
    elif weight.shape[1:] == (SIDE**2,):
        tiles = weight.reshape(-1, SIDE, SIDE)
    else:
        return None
    shown = tiles[:FILTERS].numpy()
    return {"name": name, "outputs": len(tiles), "shown": len(shown), "image": charts.filters(shown)}
