"""Stage report: the chosen model's headline numbers, plots and page, at paths that stay the same for every model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

# Tiles of the first layer that are shown, and images of each class.
FILTERS, SAMPLES = 96, 14


def report() -> None:
    """Report the architecture that `model` names: metrics/report.json, and plots with the page report.html.

    Example: python -m stages report
    """
    import numpy as np
    import pandas as pd

    from fashion import FashionError, charts, weights
    from fashion.current import current
    from fashion.data import CLASSES, FILES, read_idx
    from fashion.description import FOLDER, Description
    from fashion.files import write_bytes, write_csv, write_json, write_text
    from fashion.page import render
    from fashion.params import Params

    params = Params.load()
    key = params.model
    found, _ = current({key: Description.read(FOLDER / f"{key}.json")})
    if key not in found:
        raise FashionError(f"{key} is not evaluated with today's settings and code: run dvc repro.")
    scores = found[key]
    classes = CLASSES[scores["dataset"]]
    headline = {name: scores[name] for name in ("model", "split", "parameters")}
    headline |= {f"{part}_accuracy": scores[part]["accuracy"] for part in ("train", "validation", "test")}
    write_json(
        Path("metrics/report.json"),
        headline | {"test_loss": scores["test"]["loss"], "macro_f1": scores["test"]["macro_f1"]},
    )

    history = Path(f"metrics/history/{key}.csv")
    labels = pd.read_csv(f"metrics/predictions/{key}.csv")
    images = read_idx(Path("data/raw", FILES["test"][0]), 3)
    write_bytes(Path("plots/curves.csv"), history.read_bytes())
    write_csv(Path("plots/confusion.csv"), labels.map(classes.__getitem__))
    write_csv(Path("plots/calibration.csv"), pd.DataFrame(scores["calibration"]))
    write_bytes(Path("plots/mistakes.png"), charts.mistakes(images, scores["mistakes"], classes))

    state, header = weights.load(Path(f"models/{key}.safetensors"))
    numbers = range(len(classes))
    samples = [images[labels["truth"] == number][:SAMPLES] for number in numbers]
    counts = pd.crosstab(labels["truth"], labels["prediction"]).reindex(numbers, columns=numbers, fill_value=0)
    page = render(
        "report.html",
        scores=scores,
        classes=classes,
        claims=params.claims(key),
        source=params.published.get(key) if params.claims(key) else None,
        dataset=scores["dataset"],
        epochs=header["description"]["architecture"]["train"]["epochs"],
        settings=_settings(header),
        curves=[
            charts.curves(pd.read_csv(history), scores["epoch"], quantity, label)
            for quantity, label in (("accuracy", "accuracy"), ("loss", "cross-entropy, nats"))
        ],
        calibration=charts.calibration(scores["calibration"]),
        confusion=counts.to_numpy().tolist(),
        mistakes=[row | {"image": charts.sheet(255 - images[[row["index"]]], 1)} for row in scores["mistakes"]],
        samples=charts.sheet(255 - np.concatenate(samples), SAMPLES),
        filters=_filters(state, header["description"]["architecture"]["layers"]),
    )
    write_text(Path("plots/report.html"), page)

    low, high = scores["test"]["interval"]
    claim = params.claims(key).get("test_accuracy")
    published = f"published {claim:.2%}" if claim else "no test accuracy published"
    typer.echo(
        f"{key}: test accuracy {scores['test']['accuracy']:.2%} ({low:.2%} to {high:.2%}), {published}; "
        "more in plots/report.html"
    )


def _settings(header: dict[str, Any]) -> dict[str, Any]:
    """All that determined the weights but the layers, nested names joined by points."""
    import pandas as pd

    description = header["description"]
    architecture = {name: value for name, value in description["architecture"].items() if name != "layers"}
    ours = {"dataset": description["dataset"], "seed": description["seed"]}
    ours |= {name: header[name] for name in ("hardware", "torch")}
    # Python's own values: NumPy's truth values are no booleans to the page.
    return {str(name): value for name, value in pd.json_normalize(architecture | ours).iloc[0].to_dict().items()}


def _filters(state: "dict[str, Tensor]", layers: dict[str, Any]) -> dict[str, Any] | None:
    """The first layer's weights as tiles, where each of its outputs sees a window of the image or all of it."""
    from fashion.charts import filters
    from fashion.data import SIDE

    for layer in layers:
        name = f"{layer}.weight"
        if any(key.startswith(f"{layer}.") and tensor.dim() > 1 for key, tensor in state.items()):
            if name not in state:
                break
            weights = state[name].float()
            if weights.dim() == len("oihw") and weights.shape[1] == 1:
                tiles = weights[:, 0]
            elif weights.shape[1:] == (SIDE**2,):
                tiles = weights.reshape(-1, SIDE, SIDE)
            else:
                break
            shown = tiles[:FILTERS].numpy()
            return {"name": name, "outputs": len(tiles), "shown": len(shown), "image": filters(shown)}
    return None
