"""Stage spread: what an architecture is worth under each of its further seeds, for git to keep."""

from pathlib import Path
from typing import Annotated

import typer


def spread(key: Annotated[str, typer.Argument(help="A key of `repeats`.")]) -> None:
    """Judge the weights that the stage repeat kept, in full precision, on each part of the data.

    Example: python -m stages spread lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    from fashion.files import write_json
    from fashion.networks import load
    from fashion.params import Params
    from fashion.predictions import on_each_part
    from fashion.scores import overall

    params = Params.load()
    what, runs = {}, {}
    for path in sorted(Path(f"models/{key}.repeats").iterdir(), key=lambda path: int(path.stem)):
        network, row, header = load(path)
        what = {"dataset": params.data.dataset, "architecture": row.model_dump(mode="json")}
        runs[str(header["seed"])] = {
            f"{name}_accuracy": overall(truth, probabilities)["accuracy"]
            for name, truth, probabilities in on_each_part(network, row, params.gpu)
        }
        typer.echo(f"{key}, seed {header['seed']}: test {runs[str(header['seed'])]['test_accuracy']:.2%}")
    write_json(Path(f"metrics/repeat/{key}.json"), what | {"seeds": runs})
