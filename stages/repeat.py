"""Stage repeat: one architecture under more seeds, to tell luck from merit."""

from pathlib import Path
from typing import Annotated

import typer


def repeat(key: Annotated[str, typer.Argument(help="A key of `repeats`.")]) -> None:
    """Train an architecture anew with each of the seeds seed+1, seed+2, ...

    Weights are kept as the stage train does. Example: python -m stages repeat lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    from fashion import FashionError, training, weights
    from fashion.data import read_part, read_split
    from fashion.files import write_bytes
    from fashion.hardware import choose
    from fashion.networks import build
    from fashion.params import Params
    from fashion.progress import step_bar

    params = Params.load()
    row = params.architecture(key)
    if key not in params.repeats:
        raise FashionError(f"params.yaml has no repeats.{key}: set it to the number of seeds.")
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    parts = read_split(Path(f"data/splits/{row.split}.csv"), read_part(Path("data/raw"), "train"))
    steps = row.train.epochs * training.steps_per_epoch(len(parts[0].labels), row.train)
    for seed in range(params.seed + 1, params.seed + 1 + params.repeats[key]):
        run = training.begin(build(row.layers, row.init, seed), row, seed, hardware)
        with step_bar(steps) as bar:
            for _ in training.train(run, *parts, bar.update):
                pass
        best = [epoch for epoch in run.epochs if epoch.best][-1]
        header = {"model": key, "architecture": row.model_dump(mode="json"), "seed": seed, "epoch": best.number}
        write_bytes(Path(f"models/{key}.repeats/{seed}.safetensors"), weights.dumps(run.best, header))
        typer.echo(f"{key}, seed {seed}: validation {best.validation_accuracy:.2%}")
