"""Stage results: what all trainings show together, as a page for git."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from typing_extensions import TypedDict

from fashion.data.datasets import COMMON, DATASETS, of_full
from fashion.data.reading import Part, read_part
from fashion.errors import FashionError
from fashion.files import damaged, read_json, write_bytes, write_text
from fashion.judging.ablations import Ablation, read_ablation
from fashion.judging.comparing import FEWEST, LEVEL, MARGIN, agreement, best, equality
from fashion.judging.current import current, descriptions, sentence, trained_on
from fashion.judging.doubtful import JUDGES, read_doubtful
from fashion.judging.evaluated import Scores, read_all_predictions, read_history
from fashion.judging.neighbours import NEAR, counts, read_neighbours
from fashion.judging.ranking import by_seed, over_seeds, read_ranking, tested
from fashion.judging.summaries import Ranked
from fashion.settings.description import Description
from fashion.settings.params import Params
from fashion.showing import charts
from fashion.showing.markdown import filled
from fashion.showing.pages import duration, render

# The number of best networks to compare, and of kinds of shared mistakes to show.
BEST, KINDS = 6, 8
# PAIRS pairs are drawn around each of these distances.
SHOWN, PAIRS = (10.0, 14.0, 16.0, NEAR, 20.0, 24.0), 16
# A source's curve is compared by its last epochs, in which it changes little.
LAST = 5
# What a new user types.
COMMANDS = ("make setup", "make repro", "make test")
README, TIMINGS, WAITING = Path("README.md"), Path("benchmarks/epochs.json"), Path("benchmarks/pipeline.json")
MISSED, NEIGHBOURS = Path("docs/missed.png"), Path("docs/neighbours.png")
# What the page says of its methods.
CONSTANTS = {"level": LEVEL, "fewest": FEWEST, "margin": MARGIN, "near": NEAR, "judges": JUDGES, "last": LAST}


class Timings(TypedDict):
    """Seconds that were measured, and on which machine."""

    machine: str
    seconds: dict[str, FiniteFloat]


class Waits(TypedDict):
    """The same with several measurements of each command."""

    machine: str
    seconds: dict[str, Annotated[list[FiniteFloat], Field(min_length=1)]]


def results() -> None:
    """Write docs/results.md with two pictures, near-duplicates and common mistakes, and the tables in README.md."""
    params, trainings = Params.load(), descriptions()
    dataset = params.data.dataset
    train, test = (read_part(Path("data/raw"), part) for part in ("train", "test"))
    found, left_out = current(trainings)
    rows = read_ranking(params, found)
    ablations, other = _ablations(params, trainings)
    left_out += [f"the ablation of {key}" for key in other]
    layers = {key: trainings[params.name(key)].architecture.layers for key in rows}
    chosen = best({key: row["common_accuracy"] for key, row in rows.items()}, layers)[:BEST]
    page = render(
        "results.md",
        dataset=dataset,
        left_out=sentence(left_out),
        rows=rows,
        published=[key for key in rows if key in params.published],
        curves=curves(params, found),
        budgets=[(one.words, one.model) for one in params.budgets.values() if one.model in rows],
        mirrored={key: fmean(by_seed(params, key, found, "mirrored_test")) for key in rows},
        overlap=_overlap(train, test),
        ablations=ablations,
        reproduced=_reproduced(params, rows, found),
        neighbours=_near(train, test),
        doubts=int(read_doubtful(test.labels).sum()),
        best=chosen,
        missed=_missed(test, [params.name(key) for key in chosen], DATASETS[dataset].classes),
        picture=MISSED.name,
        **_protocol(params, found, len(train.labels)),
        **CONSTANTS,
    )
    write_text(Path("docs/results.md"), page)
    readme = README.read_text(encoding="utf-8")
    write_text(README, filled(readme, {"architectures": partial(_table, params, rows, found), "waiting": _waiting}))
    typer.echo(f"docs/results.md: {len(rows)} architectures. {sentence(left_out)}".rstrip())


def _protocol(params: Params, found: dict[str, Scores], images: int) -> dict[str, Any]:
    """How the networks were trained; images: the number of those that the splits divide."""
    return {
        "splits": params.splits,
        "common": of_full(COMMON, images),
        "seeds": params.seeds,
        "more_seeds": params.more_seeds,
        "trainings": len(found),
        "flops": sum(scores["training_flops"] for scores in found.values()),
        "trained_on": trained_on(found),
    }


def curves(params: Params, found: dict[str, Scores]) -> dict[str, dict[str, Any]]:
    """By architecture, the validation accuracy after each epoch: as its source charts it, and with each current seed.

    chance: the standard deviation between two draws of that many validation images.
    """
    compared = {}
    for key, one in params.published.items():
        names = {str(seed): name for seed in params.seeds_of(key) if (name := params.name(key, seed)) in found}
        if not (one.validation_curve and names):
            continue
        ours = {seed: read_history(name)["validation_accuracy"] for seed, name in names.items()}
        # The epochs that all have.
        table = pd.DataFrame({"source": pd.Series(one.validation_curve), **ours}).dropna()
        last = table.tail(LAST).mean()
        mean, images = float(last[[*names]].mean()), found[next(iter(names.values()))]["validation"]["images"]
        compared[key] = {
            "seeds": [*names],
            "rows": table.to_numpy().tolist(),
            "theirs": float(last["source"]),
            "ours": mean,
            "chance": math.sqrt(2 * mean * (1 - mean) / images),
            "images": images,
        }
    return compared


def _waiting() -> str:
    """How long a new user's commands take, for README.md."""
    timings = read_json(WAITING, Waits)
    if missing := {*COMMANDS} - timings["seconds"].keys():
        raise damaged(WAITING, f"it lacks {', '.join(sorted(missing))}")
    waits = [f"`{command}` {duration(timings['seconds'][command][0])}" for command in COMMANDS]
    return f"{', '.join(waits)}, with packages in their caches, on {timings['machine']}."


def _table(params: Params, rows: dict[str, Ranked], found: dict[str, Scores]) -> str:
    """The architectures' published and rebuilt accuracies, and their times to train, for README.md."""
    timings = read_json(TIMINGS, Timings)
    seconds = {key: timings["seconds"].get(key, 0) * row.train.epochs for key, row in params.models.items()}
    sources = {key: one.source for key, one in params.published.items()}
    text = render(
        "readme.md",
        rows={key: rows[key] for key in params.models if key in rows},
        sources=sources,
        seconds=seconds,
        machine=timings["machine"],
        trained_on=trained_on(found),
        trainings=sum(len(params.seeds_of(key)) for key in params.models),
        all_seconds=sum(seconds[key] * len(params.seeds_of(key)) for key in params.models),
    )
    return text.strip()


def _reproduced(params: Params, rows: dict[str, Ranked], found: dict[str, Scores]) -> list[dict[str, Any]]:
    """The published recipes, by the key of their architecture: whether the mean equals the published figure."""
    claims = {key: row["published"].get("test_accuracy") for key, row in rows.items() if key.endswith("_published")}
    known = {key: claim for key, claim in claims.items() if claim is not None}
    reproduced = []
    for key, claim in known.items():
        accuracies = tested(params, key, found, "test")
        interval, verdict = equality(accuracies, claim, len(known))
        one = {"key": key.removesuffix("_published"), "claim": claim, "mean": over_seeds(accuracies)}
        reproduced.append(one | {"interval": interval, "verdict": verdict})
    return reproduced


def _ablations(params: Params, trainings: dict[str, Description]) -> tuple[list[Ablation], list[str]]:
    """The ablations of current recipes by METHOD, and the architectures whose ablation is another one."""
    ablations, other = list[Ablation](), list[str]()
    for path in sorted(Path("metrics/ablation").glob("*.json")):
        description = trainings.get(params.name(path.stem)) if path.stem in params.models else None
        if description and (ablation := read_ablation(path, description.identity)):
            ablations.append(ablation)
        else:
            other.append(path.stem)
    return ablations, other


def _overlap(train: Part, test: Part) -> int:
    """The number of test images that are equal to a training image byte for byte."""
    known = {image.tobytes() for image in train.images}
    return sum(image.tobytes() in known for image in test.images)


def _near(train: Part, test: Part) -> list[dict[str, Any]]:
    """The counts of near-duplicates; also draws pairs, those closest to each of SHOWN, the test image on top."""
    table = read_neighbours(test.labels, train.labels)
    closest = [(table["distance"] - distance).abs().argsort(kind="stable")[:PAIRS].sort_values() for distance in SHOWN]
    pairs = table.iloc[np.concatenate(closest)]
    images = np.concatenate([test.images[pairs["image"]], train.images[pairs["neighbour"]]], axis=1)
    place = np.arange(len(SHOWN)).repeat(len(closest[0]))
    names = [f"distance {distance:g}" for distance in SHOWN]
    write_bytes(NEIGHBOURS, charts.samples(_larger(images), place, names, columns=PAIRS))
    return counts(table)


def _larger(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images at twice their size, to be easier to see."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


def _missed(test: Part, names: list[str], classes: Sequence[str]) -> dict[str, Any]:
    """The test images that these trainings all get wrong; also writes the picture."""
    truth, predicted = read_all_predictions(names)
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
    titles = [f"{classes[truth]}\npredicted as\n{classes[predicted]}" for truth, predicted in numbers]
    kind = np.array([numbers.get(pair, -1) for pair in pairs])
    write_bytes(MISSED, charts.samples(_larger(test.images[same]), kind, titles, columns=14))
    rows = [{"truth": classes[truth], "prediction": classes[label], "images": n} for (truth, label), n in kinds]
    return found | {"unanimous": len(same), "kinds": rows}
