"""Stage results: what all trainings show together, as a page for git."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from fashion.data.datasets import DATASETS
from fashion.data.reading import Part, read_part
from fashion.errors import FashionError
from fashion.files import checked, read_json, write_bytes, write_text
from fashion.judging.comparing import JUDGES, LEVEL, agreement, best
from fashion.judging.current import current, descriptions, sentence
from fashion.judging.evaluated import Scores, accuracies, read_all_predictions
from fashion.judging.neighbours import NEAR, TABLE, read_neighbours
from fashion.judging.summaries import Ablation, Ranked
from fashion.settings.description import Description
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.pages import render

# The number of best networks to compare, and of kinds of shared mistakes to show.
BEST, KINDS = 6, 8
# Near-duplicates are counted up to each of LIMITS; PAIRS pairs are drawn around each of SHOWN.
LIMITS, SHOWN, PAIRS = (14.0, NEAR, 22.0), (10.0, 14.0, 16.0, NEAR, 20.0, 24.0), 16
MISSED, NEIGHBOURS = Path("docs/missed.png"), Path("docs/neighbours.png")


def results() -> None:
    """Write docs/results.md and two pictures: near-duplicates, and what the best networks all get wrong alike."""
    params, trainings = Params.load(), descriptions()
    dataset = params.data.dataset
    train, test = (read_part(Path("data/raw"), part) for part in ("train", "test"))
    found, left_out = current(trainings)
    rows = _ranked(found)
    ablations, other = _ablations(trainings)
    left_out += [f"the ablation of {key}" for key in other]
    layers = {key: trainings[key].architecture.layers for key in rows}
    chosen = best({key: row["validation_accuracy"] for key, row in rows.items()}, layers)[:BEST]
    known = {image.tobytes() for image in train.images}
    page = render(
        "results.md",
        dataset=dataset,
        left_out=sentence(left_out),
        rows=rows,
        splits=params.splits,
        seed=params.seed,
        trainings=len(found),
        flops=sum(scores["training_flops"] for scores in found.values()),
        published=[key for key in rows if key in params.published],
        classes=[(one.words, one.model) for one in params.classes.values() if one.model in rows],
        mirrored={key: found[key]["mirrored_test"]["accuracy"] for key in rows},
        overlap=sum(image.tobytes() in known for image in test.images),
        ablations=ablations,
        epochs={key: row.train.epochs for key, row in params.models.items()},
        neighbours=_neighbours(train, test),
        near=NEAR,
        judges=JUDGES,
        level=LEVEL,
        best=chosen,
        missed=_missed(test, chosen, DATASETS[dataset].classes),
        picture=MISSED.name,
    )
    write_text(Path("docs/results.md"), page)
    typer.echo(f"docs/results.md: {len(rows)} architectures. {sentence(left_out)}".rstrip())


def _ranked(found: dict[str, Scores]) -> dict[str, Ranked]:
    """The leaderboard's rows of current scores; FashionError unless it ranks all of them as they are."""
    board = read_json(Path("metrics/leaderboard.json"), dict[str, Ranked])
    rows = {key: row for key, row in board.items() if key in found}
    scores = {name: accuracies(one) for name, one in found.items() if name == one["model"]}
    if not rows or any(not mine.items() <= board.get(key, {}).items() for key, mine in scores.items()):
        raise FashionError(
            "metrics/leaderboard.json does not rank the current scores: "
            "run dvc repro --single-item models/dvc.yaml:leaderboard first."
        )
    return rows


def _ablations(trainings: dict[str, Description]) -> tuple[list[Ablation], list[str]]:
    """The ablations of current recipes, and the architectures whose ablation is of another recipe."""
    ablations, other = list[Ablation](), list[str]()
    for path in sorted(Path("metrics/ablation").glob("*.json")):
        content, description = read_json(path, dict[str, Any]), trainings.get(path.stem)
        if description and content.get("training") == description.identity:
            ablations.append(checked(path, content, Ablation))
        else:
            other.append(path.stem)
    return ablations, other


def _neighbours(train: Part, test: Part) -> list[dict[str, Any]]:
    """For several distances: how many test images have a neighbour so near, and how many of these another label.

    Also draws pairs: a row for each of the distances SHOWN, of those that come closest to it, the test image on top.
    """
    table = read_neighbours(test.labels)
    known = table["neighbour"].between(0, len(train.labels) - 1).all()
    if not (known and np.array_equal(train.labels[table["neighbour"]], table["neighbour_label"])):
        raise FashionError(f"{TABLE} is of other training images: run dvc repro models/dvc.yaml:neighbours.")
    rows = []
    for limit in LIMITS:
        near = table[table["distance"] <= limit]
        differ = int((near["label"] != near["neighbour_label"]).sum())
        rows.append({"limit": limit, "near": len(near), "differ": differ, "bound": 1 - differ / len(table)})
    closest = [(table["distance"] - distance).abs().argsort(kind="stable")[:PAIRS].sort_values() for distance in SHOWN]
    pairs = table.iloc[np.concatenate(closest)]
    images = np.concatenate([test.images[pairs["image"]], train.images[pairs["neighbour"]]], axis=1)
    place = np.arange(len(SHOWN)).repeat(len(closest[0]))
    names = [f"distance {distance:g}" for distance in SHOWN]
    write_bytes(NEIGHBOURS, charts.samples(_larger(images), place, names, columns=PAIRS))
    return rows


def _larger(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images at twice their size, to be easier to see."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


def _missed(test: Part, keys: list[str], classes: Sequence[str]) -> dict[str, Any]:
    """The test images that these architectures all get wrong; also writes the picture."""
    truth, predicted = read_all_predictions(keys)
    if not np.array_equal(truth, test.labels):
        raise FashionError(
            "the leaderboard belongs to other data: run dvc repro --single-item models/dvc.yaml:leaderboard first."
        )
    predictions = np.stack([*predicted.values()])
    found = agreement(test.labels, predictions)
    same = found["unanimous"]
    pairs = list(zip(test.labels[same].tolist(), predictions[0, same].tolist(), strict=True))
    kinds = sorted(Counter(pairs).items(), key=lambda kind: (-kind[1], kind[0]))[:KINDS]
    numbers = {pair: number for number, (pair, _) in enumerate(kinds)}
    names = [f"{classes[truth]}\npredicted as\n{classes[predicted]}" for truth, predicted in numbers]
    kind = np.array([numbers.get(pair, -1) for pair in pairs])
    write_bytes(MISSED, charts.samples(_larger(test.images[same]), kind, names, columns=14))
    rows = [{"truth": classes[truth], "prediction": classes[label], "images": n} for (truth, label), n in kinds]
    return found | {"unanimous": len(same), "kinds": rows}
