"""Who is timed: the loop that everyone writes, and this project's engine; each alone in its process."""

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fashion.params import Architecture, Params

# Steps before the clock starts: lazily made state, caches, memory.
WARMUP = 3
BATCH = 128


def plain(row: Architecture, steps: int) -> float:
    """Take torchvision's FashionMNIST with ToTensor and a DataLoader, fp32, Adam: milliseconds a step."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import ToTensor

    from fashion.networks import build

    with TemporaryDirectory() as root:
        Path(root, "FashionMNIST").mkdir()
        Path(root, "FashionMNIST", "raw").symlink_to(Path("data/raw").absolute())
        images = FashionMNIST(root, train=True, transform=ToTensor())
    network = build(row.layers)
    for name, (kind, arguments) in row.layers.items():
        # The project has its own, faster ones.
        if kind in ("Dropout", "LocalResponseNorm"):
            network.set_submodule(name, getattr(torch.nn, kind)(**arguments))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    loss_function = torch.nn.CrossEntropyLoss()
    network.train()
    started = 0.0
    # Whole batches, as the engine takes them.
    loader = DataLoader(images, BATCH, shuffle=True, drop_last=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for step, (batch, labels) in enumerate(itertools.islice(batches, steps + WARMUP)):
        if step == WARMUP:
            started = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_function(network(batch), labels)
        loss.backward()
        optimizer.step()
        # What such loops do: the running loss is shown.
        loss.item()
    return (time.perf_counter() - started) / steps * 1e3


def engine(row: Architecture, steps: int) -> float:
    """This project's engine with the settings of params.yaml, Adam and no augmentation: milliseconds a step."""
    from fashion.data import read_part
    from fashion.hardware import choose
    from fashion.networks import build
    from fashion.training import train

    params = Params.load()
    hardware = choose(**params.gpu.model_dump(exclude={"processes"}))
    changes = {
        "epochs": 1,
        "batch_size": BATCH,
        "optimizer": "adam",
        "augment": {"flip": False, "shift": 0, "erase": 0},
    }
    recipe = type(row.train).model_validate(row.train.model_dump() | changes)
    part = read_part(Path("data/raw"), "train")
    # As many images as the steps take, over and over.
    training = part.take(np.arange((steps + WARMUP) * BATCH) % len(part.labels))
    times: list[float] = []
    after_step = lambda: times.append(time.perf_counter())  # noqa: E731 - appends
    validation = part.take(np.arange(1))
    for _ in train(
        build(row.layers), training, validation, row.model_copy(update={"train": recipe}), 0, hardware, after_step
    ):
        pass
    return (times[-1] - times[WARMUP - 1]) / steps * 1e3


CONTESTANTS: dict[str, Callable[[Architecture, int], float]] = {"plain": plain, "engine": engine}

if __name__ == "__main__":
    name, key, count = sys.argv[1:]
    print(json.dumps(CONTESTANTS[name](Params.load().architecture(key), int(count))))  # noqa: T201 - to the parent
