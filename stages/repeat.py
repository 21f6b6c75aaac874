"""Stage repeat: one architecture under more seeds, to tell luck from merit."""

from pathlib import Path
from typing import Annotated

import typer


def repeat(key: Annotated[str, typer.Argument(help="A key of `repeats`.")]) -> None:
    """Train and judge an architecture anew with each of the seeds seed+1, seed+2, ...

    Example: python -m stages repeat lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    import torch

    from fashion import FashionError, training
    from fashion.data import read_part, read_split
    from fashion.files import write_json
    from fashion.hardware import choose
    from fashion.images import logits
    from fashion.networks import build
    from fashion.params import Params
    from fashion.progress import step_bar

    params = Params.load()
    row = params.architecture(key)
    if key not in params.repeats:
        raise FashionError(f"params.yaml has no repeats.{key}: set it to the number of seeds.")
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    raw = Path("data/raw")
    training_part, validation = read_split(Path(f"data/splits/{row.split}.csv"), read_part(raw, "train"))
    test = read_part(raw, "test")
    runs = {}
    steps = row.train.epochs * training.steps_per_epoch(len(training_part.labels), row.train)
    for seed in range(params.seed + 1, params.seed + 1 + params.repeats[key]):
        network = build(row.layers, row.init, seed)
        run = training.begin(network, row, seed, hardware)
        with step_bar(steps) as bar:
            for _ in training.train(run, training_part, validation, bar.update):
                pass
        network.load_state_dict(run.best)
        accuracies = {}
        for name, part in {"validation": validation, "test": test}.items():
            images = torch.tensor(part.images, device=hardware.device)
            output = logits(run.placed, images, row.pixels.black, row.pixels.white)
            accuracies[f"{name}_accuracy"] = (output.argmax(1).cpu().numpy() == part.labels).mean()
        runs[str(seed)] = accuracies
        typer.echo(f"{key}, seed {seed}: validation {accuracies['validation_accuracy']:.2%}")
    write_json(Path(f"metrics/repeat/{key}.json"), runs)
