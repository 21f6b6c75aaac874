"""Stage report: the chosen model's headline numbers and plots, at paths that stay the same for every model."""

from pathlib import Path

import typer


def report() -> None:
    """Report the architecture that `model` names: metrics/report.json and plots/.

    Example: python -m stages report
    """
    import pandas as pd

    from fashion.charts import mistakes
    from fashion.data import CLASSES, FILES, read_idx
    from fashion.files import read_json, write_bytes, write_csv, write_json
    from fashion.params import Params

    params = Params.load()
    key = params.model
    scores = read_json(Path(f"metrics/evaluate/{key}.json"))
    classes = CLASSES[scores["dataset"]]
    write_json(
        Path("metrics/report.json"),
        {
            "model": key,
            "split": scores["split"],
            "parameters": scores["parameters"],
            **{f"{part}_accuracy": scores[part]["accuracy"] for part in ("train", "validation", "test")},
            "test_loss": scores["test"]["loss"],
            "macro_f1": scores["macro_f1"],
        },
    )

    write_bytes(Path("plots/curves.csv"), Path(f"metrics/history/{key}.csv").read_bytes())
    labels = pd.read_csv(f"metrics/predictions/{key}.csv")
    write_csv(Path("plots/confusion.csv"), labels.map(classes.__getitem__))
    write_csv(Path("plots/calibration.csv"), pd.DataFrame(scores["calibration"]))
    images = read_idx(Path("data/raw", FILES["test"][0]), 3)
    write_bytes(Path("plots/mistakes.png"), mistakes(images, scores["mistakes"], classes))

    low, high = scores["test"]["interval"]
    claim = params.claims(key).get("test_accuracy")
    published = f"published {claim:.2%}" if claim else "no test accuracy published"
    typer.echo(
        f"{key}: test accuracy {scores['test']['accuracy']:.2%} ({low:.2%} to {high:.2%}), {published}; "
        "numbers in metrics/report.json, pictures with: dvc plots show"
    )
