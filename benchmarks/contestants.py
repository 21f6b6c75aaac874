"""Who is timed: the loop that everyone writes, this project's engine, and parts of its step; each in its own process.

Batches of 128, Adam, no augmentation; in fp32 but for the engine, which takes the precision that params.yaml says.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from benchmarks.processes import RAW
from fashion.params import Architecture, Params
from fashion.running.environment import prepare

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.data import DataLoader, Dataset
    from torchvision.datasets import VisionDataset

# Steps before the clock starts: lazily made state, caches, memory.
WARMUP = 3
BATCH = 128


class Clock:
    """Ticks after every step, and tells the mean duration of the `steps` that follow the first ones."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ticks: list[float] = []

    def tick(self, *_: object, **__: object) -> None:
        """A step has ended; a GPU is waited for where counting begins and ends."""
        if len(self.ticks) in (WARMUP - 1, WARMUP - 1 + self.steps) and "torch" in sys.modules:
            import torch

            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        self.ticks.append(time.perf_counter())

    def milliseconds(self) -> float:
        """The mean of a step."""
        return (self.ticks[WARMUP - 1 + self.steps] - self.ticks[WARMUP - 1]) / self.steps * 1e3


def plain(row: Architecture, steps: int) -> float:
    """Run the loop that everyone writes."""
    import torch

    clock = Clock(steps)
    network = torchs(row)
    batches = itertools.islice(forever(loader(dataset())), steps + WARMUP)
    for _ in loop(network, torch.optim.Adam(network.parameters(), lr=0.001), batches):
        clock.tick()
    return clock.milliseconds()


def engine(row: Architecture, steps: int) -> float:
    """Run this project's engine, on the hardware and in the precision that params.yaml says."""
    from fashion.data import read_part
    from fashion.hardware import choose
    from fashion.networks import build
    from fashion.training import begin, train

    clock = Clock(steps)
    hardware = choose(**Params.load().gpu.model_dump(exclude={"processes"}))
    changes = {
        "epochs": 1,
        "batch_size": BATCH,
        "optimizer": "adam",
        "augment": {"flip": False, "shift": 0, "erase": 0},
    }
    recipe = type(row.train).model_validate(row.train.model_dump() | changes)
    row = row.model_copy(update={"train": recipe})
    part = read_part(RAW, "train")
    training = part.take(np.arange((steps + WARMUP) * BATCH) % len(part.labels))
    list(train(begin(build(row.layers), row, 0, hardware), training, part.take(np.arange(1)), clock.tick))
    return clock.milliseconds()


def data(row: Architecture, steps: int) -> float:
    """Time the engine's work on data alone, with augmentation: picking, mirroring, moving, scaling."""
    import torch

    from fashion.data import read_part
    from fashion.hardware import choose
    from fashion.images import augmented, scaled, views

    clock = Clock(steps)
    device = choose(**Params.load().gpu.model_dump(exclude={"processes"})).device
    images = torch.tensor(read_part(RAW, "train").images, device=device)
    source, generator = views(images, flip=True, shift=1), torch.Generator(device).manual_seed(0)
    for _ in range(steps + WARMUP):
        index = torch.randint(len(images), (BATCH,), generator=generator, device=device)
        batch = augmented(source, index, flip=True, erase=0, generator=generator)
        scaled(batch, row.pixels.black, row.pixels.white)
        clock.tick()
    return clock.milliseconds()


def floor(row: Architecture, steps: int) -> float:
    """Three times the forward pass's multiplications at a large matrix product's rate, in the engine's precision.

    Backward takes twice those of forward, less the first layer's half, since nobody needs the images' gradient.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from fashion.hardware import DTYPES, choose
    from fashion.threads import cores

    hardware = choose(**Params.load().gpu.model_dump(exclude={"processes"}))
    # All cores work on one product.
    torch.set_num_threads(cores())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        torchs(row)(torch.zeros(BATCH, 1, 28, 28))
    size = 2048
    one, other = (torch.randn(size, size, dtype=DTYPES[hardware.precision], device=hardware.device) for _ in range(2))
    clock = Clock(steps := min(steps, 20))
    for _ in range(WARMUP + steps):
        one @ other
        clock.tick()
    flops: int = counter.get_total_flops()
    return clock.milliseconds() * 3 * flops / (2 * size**3)


def torchs(row: Architecture) -> "nn.Sequential":
    """The network, with torch's own layers where the project has faster ones."""
    from torch import nn

    from fashion.networks import LAYERS, build

    own = {
        "AvgPool2d": (nn.AvgPool2d, None),
        "Conv2d": (nn.Conv2d, "in_channels"),
        "Dropout": (nn.Dropout, None),
        "LocalResponseNorm": (nn.LocalResponseNorm, None),
    }
    with patch.dict(LAYERS, own):
        return build(row.layers, row.init)


def loop(network: "nn.Module", optimizer: "Optimizer", batches: Iterable[Any]) -> Iterator[None]:
    """What everyone writes, on CUDA where there is a GPU; a pause after each step."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).train()
    loss_function = torch.nn.CrossEntropyLoss()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = loss_function(network(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        # What such loops do: the running loss is shown.
        loss.item()
        yield


def dataset() -> "VisionDataset":
    """The training images as torchvision gives them."""
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import ToTensor

    with TemporaryDirectory() as root:
        Path(root, "FashionMNIST").mkdir()
        Path(root, "FashionMNIST", "raw").symlink_to(RAW.absolute())
        return FashionMNIST(root, train=True, transform=ToTensor())


def loader(images: "Dataset[Any]", batch: int = BATCH) -> "DataLoader[Any]":
    """Whole shuffled batches, as the engine takes them."""
    from torch.utils.data import DataLoader

    return DataLoader(images, batch, shuffle=True, drop_last=True)


def forever(batches: Iterable[Any]) -> Iterator[Any]:
    """One epoch after the other."""
    return itertools.chain.from_iterable(itertools.repeat(batches))


def main(contestants: Iterable[Callable[[Architecture, int], float]]) -> None:
    """Run the contestant that the command line names, for its architecture and so many steps, and print its time."""
    name, key, steps = sys.argv[1:]
    if name in ("engine", "data", "floor"):
        prepare(Params.load().gpu.kernels)
    contestant = next(function for function in contestants if function.__name__ == name)
    print(json.dumps(contestant(Params.load().architecture(key), int(steps))))  # noqa: T201 - to the parent


if __name__ == "__main__":
    main((plain, engine, data, floor))
