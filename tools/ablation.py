"""Tool ablation: what each ingredient of a recipe gives."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

DVC = (sys.executable, "-m", "dvc")
# What each ingredient is where it is left out.
WITHOUT: dict[str, Any] = {
    "augment.flip": False,
    "augment.shift": 0,
    "augment.erase": 0,
    "label_smoothing": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}


def ablation(
    key: Annotated[str, typer.Argument(help="A key of `models`.")],
    seeds: Annotated[int, typer.Option(min=2, help="How many trainings of each, with the seeds 0, 1, ...")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's epochs.")] = None,
) -> None:
    """Train an architecture by its recipe, and without each ingredient of it; compare the validation accuracies.

    Ingredients are augmentation, label smoothing, weight decay, schedule and warm-up. Each training is a DVC experiment
    on the last commit, in a folder of its own; one that is there already is not run again. The figures go to
    metrics/ablation, and the stage results shows them. Example: python -m tools ablation cnn
    """
    import pandas as pd
    from dvc.api import metrics_show

    from fashion import FashionError
    from fashion.files import write_json
    from fashion.params import Params
    from fashion.tables import show

    params = Params.load()
    recipe = params.architecture(key).train
    epochs = epochs or recipe.epochs
    settings = pd.json_normalize(recipe.model_dump()).iloc[0]
    changes: dict[str, list[str]] = {"": []}
    for name, value in WITHOUT.items():
        if settings[name] != value:
            changes[name] = [f"++models.{key}.train.{name}={str(value).lower()}"]
    if len(changes) == 1:
        raise FashionError(f"the recipe of {key} has no ingredient to leave out: none of {', '.join(WITHOUT)}.")
    if changed := _output("git", "status", "--porcelain", "--", ".", ":!metrics/ablation").splitlines():
        raise FashionError(f"experiments start from a commit, and {changed[0][3:]} is in none: commit or remove it.")
    known = _output(*DVC, "exp", "list", "--name-only").split()
    rows: list[dict[str, Any]] = []
    for without, change in changes.items():
        accuracies = []
        for seed in range(seeds):
            name = f"{key}-{epochs}-epochs-{f'without-{without}' if without else 'whole'}-seed-{seed}".replace(".", "-")
            if name not in known:
                typer.echo(f"{name}, {len(rows) * seeds + seed + 1} of {len(changes) * seeds}", err=True)
                _train(name, f"model={key}", f"seed={seed}", f"models.{key}.train.epochs={epochs}", *change)
            accuracies.append(metrics_show("metrics/report.json", rev=name)["validation_accuracy"])
        each = pd.Series(accuracies)
        rows.append({"without": without, "accuracies": accuracies, "mean": each.mean(), "deviation": each.std()})
    found = {"model": key, "training": params.describe(key).identity, "epochs": epochs, "seeds": seeds, "rows": rows}
    write_json(Path(f"metrics/ablation/{key}.json"), found)
    whole = rows[0]["mean"]
    show(
        [
            {
                "without": row["without"] or "nothing",
                "validation accuracy": f"{row['mean']:.2%}",
                "standard deviation": f"{100 * row['deviation']:.2f}",
                "change": f"{100 * (row['mean'] - whole):+.2f}",
            }
            for row in rows
        ]
    )


def _output(*command: str) -> str:
    """What a command prints; FashionError with its words where it fails."""
    from fashion import FashionError

    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")  # noqa: S603 - no shell
    if done.returncode:
        raise FashionError(f"{' '.join(command)} fails: {done.stderr.strip()}")
    return done.stdout


def _train(name: str, *changes: str) -> None:
    """Run an experiment in a folder of its own; FashionError where it fails."""
    from fashion import FashionError

    settings = [word for change in changes for word in ("--set-param", change)]
    command = [*DVC, "exp", "run", "--temp", "--name", name, *settings]
    # What dvc says goes where progress goes: the table may go into a file.
    with subprocess.Popen(command, stdout=sys.stderr) as process:  # noqa: S603 - no shell
        try:
            failed = process.wait()
        except KeyboardInterrupt:
            # dvc and the training were told too, and clean up.
            process.wait()
            raise FashionError(f"{name}: interrupted; the same command goes on.") from None
    if failed:
        raise FashionError(f"the experiment {name} failed, as told above.")
