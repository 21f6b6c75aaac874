"""Stage results: what all trainings together say, as a page that git shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion.data import Part

# Our own designs.
OWN = ("champion", "champion_small")
# How many of the best networks must agree, and how many kinds of their common mistakes are shown.
BEST, KINDS = 6, 8
PICTURE = Path("docs/missed.png")


def results() -> None:
    """Write docs/results.md, and docs/missed.png: test images that the best networks take for the same wrong class.

    Example: python -m stages results
    """
    from fashion import FashionError
    from fashion.current import current, descriptions, sentence
    from fashion.data import CLASSES, read_part
    from fashion.files import read_json, write_text
    from fashion.page import render
    from fashion.params import Params

    params = Params.load()
    dataset = params.data.dataset
    train, test = (read_part(Path("data/raw"), part) for part in ("train", "test"))
    trainings = descriptions()
    found, left_out = current(trainings)
    rows = {key: row for key, row in read_json(Path("metrics/leaderboard.json")).items() if key in found}
    if not rows:
        raise FashionError("no architecture is ranked: run dvc repro --single-item models/dvc.yaml:leaderboard first.")
    ablations: dict[bool, list[Any]] = {True: [], False: []}
    for ablation in map(read_json, sorted(Path("metrics/ablation").glob("*.json"))):
        description = trainings.get(ablation["model"])
        ablations[description is not None and ablation.get("training") == description.identity].append(ablation)
    left_out += [f"the ablation of {ablation['model']}" for ablation in ablations[False]]
    # By validation accuracy: test images choose nothing.
    best = sorted(rows, key=lambda key: (-rows[key]["validation_accuracy"], key))[:BEST]
    known = {image.tobytes() for image in train.images}
    page = render(
        "results.md",
        dataset=dataset,
        left_out=sentence(left_out),
        rows=rows,
        own={key: found[key]["mirrored_test"]["accuracy"] for key in OWN if key in rows},
        overlap=sum(image.tobytes() in known for image in test.images),
        ablations=ablations[True],
        best=best,
        missed=_missed(test, best, CLASSES[dataset]),
        picture=PICTURE.name,
    )
    write_text(Path("docs/results.md"), page)
    typer.echo(f"docs/results.md: {len(rows)} architectures. {sentence(left_out)}".rstrip())


def _missed(test: "Part", keys: list[str], classes: "Sequence[str]") -> dict[str, Any]:
    """On what these architectures fail together; the picture of it is written."""
    from collections import Counter

    import numpy as np
    import pandas as pd

    from fashion import FashionError, charts
    from fashion.agreement import agreement
    from fashion.files import write_bytes

    tables = [pd.read_csv(f"metrics/predictions/{key}.csv") for key in keys]
    if not all(np.array_equal(table["truth"], test.labels) for table in tables):
        raise FashionError(
            "the leaderboard is of other data: dvc repro --single-item models/dvc.yaml:leaderboard first."
        )
    predictions = np.stack([table["prediction"] for table in tables])
    found = agreement(test.labels, predictions)
    same = found["unanimous"]
    pairs = list(zip(test.labels[same].tolist(), predictions[0, same].tolist(), strict=True))
    kinds = sorted(Counter(pairs).items(), key=lambda kind: (-kind[1], kind[0]))[:KINDS]
    numbers = {pair: number for number, (pair, _) in enumerate(kinds)}
    names = [f"{classes[true]}\ntaken for\n{classes[taken]}" for true, taken in numbers]
    kind = np.array([numbers.get(pair, -1) for pair in pairs])
    # Twice as large as they are, to be looked at one by one.
    shown = test.images[same].repeat(2, axis=1).repeat(2, axis=2)
    write_bytes(PICTURE, charts.samples(shown, kind, names, columns=14))
    rows = [{"truth": classes[true], "prediction": classes[taken], "images": n} for (true, taken), n in kinds]
    return found | {"unanimous": len(same), "kinds": rows}
