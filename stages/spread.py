"""Stage spread: what an architecture is worth under each of its further seeds, for git to keep."""

from pathlib import Path
from typing import Annotated

import typer


def spread(key: Annotated[str, typer.Argument(help="A key of `repeats`.")]) -> None:
    """Judge the weights that the stage repeat kept, in full precision, on validation and test images.

    Example: python -m stages spread lenet5
    """
    from fashion.memory import keep_memory

    keep_memory()

    import torch

    from fashion.data import read_part, read_split
    from fashion.files import write_json
    from fashion.hardware import choose, place
    from fashion.images import logits
    from fashion.networks import load
    from fashion.params import Params

    params = Params.load()
    hardware = choose(**params.gpu.model_dump(exclude={"processes", "precision"}), precision="fp32")
    raw = Path("data/raw")
    runs = {}
    for path in sorted(Path(f"models/{key}.repeats").iterdir()):
        network, row, header = load(path)
        placed = place(network, hardware)
        _, validation = read_split(Path(f"data/splits/{row.split}.csv"), read_part(raw, "train"))
        accuracies = {}
        for name, part in {"validation": validation, "test": read_part(raw, "test")}.items():
            images = torch.tensor(part.images, device=hardware.device)
            output = logits(placed, images, row.pixels.black, row.pixels.white)
            accuracies[f"{name}_accuracy"] = (output.argmax(1).cpu().numpy() == part.labels).mean()
        runs[str(header["seed"])] = accuracies
        typer.echo(f"{key}, seed {header['seed']}: test {accuracies['test_accuracy']:.2%}")
    write_json(Path(f"metrics/repeat/{key}.json"), runs)
