"""The usual PyTorch loop, an expert's, this project's engine, and parts of its step, each timed in its own process.

Batches of 128, Adam, no augmentation. The usual loop uses fp32, an expert's bf16, the engine what the row or the
function says.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.datasets import FashionMNIST, VisionDataset
from torchvision.transforms import ToTensor

from benchmarks.measuring import BATCH, RAW, WARMUP, Clock, main
from fashion.data.datasets import SIDE
from fashion.data.reading import read_part
from fashion.environment import Precision
from fashion.networks.building import LAYERS, build
from fashion.networks.hardware import Hardware, choose, configure
from fashion.networks.inference import scaled
from fashion.networks.layers import linear
from fashion.settings.description import NO_AUGMENT, Augment
from fashion.settings.params import Architecture, Params
from fashion.threads import cores
from fashion.training.augmentation import augmented, views
from fashion.training.engine import begin, train


def plain(row: Architecture, steps: int) -> float:
    """Time the usual PyTorch loop."""
    clock = Clock(steps)
    network = plain_network(row)
    batches = itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader(dataset()))), steps + WARMUP)
    for _ in loop(network, torch.optim.Adam(network.parameters(), lr=0.001), batches):
        clock.tick()
    return clock.milliseconds()


def expert(row: Architecture, steps: int) -> float:
    """Time the loop as experts write it."""
    clock, part = Clock(steps), read_part(RAW, "train")
    order = torch.randperm(len(part.labels))
    batches = itertools.cycle(order[: len(order) // BATCH * BATCH].split(BATCH))
    step = expert_step(row, torch.tensor(part.images), torch.tensor(part.labels), batches)
    for _ in range(steps + WARMUP):
        step()
        clock.tick()
    return clock.milliseconds()


def engine(row: Architecture, steps: int, precision: Precision | None = None) -> float:
    """Time this project's engine, on the hardware of params.yaml, by default in the row's precision."""
    clock = Clock(steps)
    recipe = {"epochs": 1, "batch_size": BATCH, "optimizer": "adam", "augment": NO_AUGMENT}
    row = row.model_copy(update={"train": row.train.model_copy(update=recipe)})
    part = read_part(RAW, "train")
    training = part.take(np.arange((steps + WARMUP) * BATCH) % len(part.labels))
    run = begin(build(row.layers), row, 0, hardware(precision or row.train.precision))
    list(train(run, training, part.take(np.arange(1)), clock.tick))
    return clock.milliseconds()


def engine_fp32(row: Architecture, steps: int) -> float:
    """Time this project's engine in fp32."""
    return engine(row, steps, "fp32")


def engine_bf16(row: Architecture, steps: int) -> float:
    """Time this project's engine in bf16, where the processor has it."""
    return engine(row, steps, "bf16")


def data(row: Architecture, steps: int) -> float:
    """Time the engine's work on data alone, with augmentation: picking, mirroring, moving, scaling."""
    clock, augment = Clock(steps), Augment(flip=True, shift=1, erase=0)
    device = hardware("fp32").device
    images = torch.tensor(read_part(RAW, "train").images, device=device)
    source, generator = views(images, augment), torch.Generator(device).manual_seed(0)
    for _ in range(steps + WARMUP):
        index = torch.randint(len(images), (BATCH,), generator=generator, device=device)
        scaled(augmented(source, index, augment, generator), row.pixels.black, row.pixels.white)
        clock.tick()
    return clock.milliseconds()


def arithmetic(row: Architecture, steps: int) -> float:
    """The time of a step's multiplications at the speed of one large product by the engine, in the row's precision.

    They are three times those of the forward pass: the backward pass takes twice as many, except those for the
    gradient of the images, which is not needed.
    """
    chosen = hardware(row.train.precision)
    # All cores work on one product.
    torch.set_num_threads(cores())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        plain_network(row)(torch.zeros(BATCH, 1, SIDE, SIDE))
    size = 2048
    one, other = (torch.randn(size, size, dtype=chosen.dtype, device=chosen.device) for _ in range(2))
    clock = Clock(steps := min(steps, 20))
    for _ in range(WARMUP + steps):
        linear(one, other, None)
        clock.tick()
    flops: int = counter.get_total_flops()
    return clock.milliseconds() * 3 * flops / (2 * size**3)


def hardware(precision: Precision) -> Hardware:
    """The hardware of params.yaml in that precision, with this process configured for it."""
    gpu = Params.load().gpu
    chosen = choose(gpu.device, gpu, precision)
    configure(chosen)
    return chosen


def plain_network(row: Architecture) -> nn.Sequential:
    """The network with torch's own layers, where torch has them, in place of the project's faster ones."""
    own = {
        "Conv2d": (nn.Conv2d, "in_channels"),
        "Dropout": (nn.Dropout, None),
        "Linear": (nn.Linear, "in_features"),
        "LocalResponseNorm": (nn.LocalResponseNorm, None),
    }
    with patch.dict(LAYERS, own):
        return build(row.layers, row.init)


def expert_step(row: Architecture, images: Tensor, labels: Tensor, batches: Iterator[Tensor]) -> Callable[[], None]:
    """A step as experts write it: bf16, channels_last, a fused optimizer, all images on the device as floats.

    images: bytes, on the device; batches: indices of images.
    """
    device = images.device
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.benchmark = True
    network = plain_network(row).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)
    inputs = scaled(images, row.pixels.black, row.pixels.white).to(memory_format=torch.channels_last)

    def step() -> None:
        index = next(batches)
        with torch.autocast(device.type, torch.bfloat16):
            loss = functional.cross_entropy(network(inputs[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def loop(network: nn.Module, optimizer: Optimizer, batches: Iterable[Any]) -> Iterator[None]:
    """The usual PyTorch training loop, on CUDA if there is a GPU; it yields after each step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).train()
    loss_function = torch.nn.CrossEntropyLoss()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = loss_function(network(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        # Such loops usually show the running loss.
        loss.item()
        yield


def dataset() -> VisionDataset:
    """The training images as torchvision provides them."""
    with TemporaryDirectory() as root:
        Path(root, "FashionMNIST").mkdir()
        Path(root, "FashionMNIST", "raw").symlink_to(RAW.absolute())
        return FashionMNIST(root, train=True, transform=ToTensor())


def loader(images: Dataset[Any], batch: int = BATCH) -> DataLoader[Any]:
    """Whole batches of shuffled images, as in the engine."""
    return DataLoader(images, batch, shuffle=True, drop_last=True)


if __name__ == "__main__":
    main(plain, expert, engine, engine_fp32, engine_bf16, data, arithmetic)
