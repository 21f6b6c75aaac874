"""What a network makes of images: of any, and of each part of the data."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fashion import FashionError
from fashion.data import read_part, read_split
from fashion.description import Description, Pixels
from fashion.hardware import choose, place
from fashion.images import logits


def finite_logits(
    network: nn.Module, images: NDArray[np.uint8], pixels: Pixels, device: torch.device | str = "cpu"
) -> Tensor:
    """The logits of a network on that device for uint8 images (n, 28, 28): float32 (n, 10), on the CPU.

    Raises FashionError where one is no finite number.
    """
    output = logits(network, torch.tensor(images, device=device), pixels.black, pixels.white).cpu()
    if not output.isfinite().all():
        raise FashionError("these weights give logits that are no finite numbers: train them anew.")
    return output


def on_each_part(
    network: nn.Sequential, description: Description, device: str
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """The labels (n) and the network's probabilities (n, 10) on the train, validation and test images of its split.

    description: of the training that the network comes from; device: as params.yaml names it. In full precision on
    every machine, however the weights were made, and without augmentation. Only what comes last, `mirrored_test`, is
    the mean of the probabilities of each test image and of its mirror image.
    """
    numerics = description.gpu.model_dump() | {"precision": "fp32"}
    hardware = choose(device=device, **numerics)
    placed, pixels = place(network, hardware), description.architecture.pixels

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return torch.softmax(finite_logits(placed, images, pixels, hardware.device).double(), 1).numpy()

    raw = Path("data/raw")
    training, validation = read_split(Path(f"data/splits/{description.model}.csv"), read_part(raw, "train"))
    for name, part in (("train", training), ("validation", validation)):
        yield name, part.labels, probabilities(part.images)
    test = read_part(raw, "test")
    found = probabilities(test.images)
    yield "test", test.labels, found
    yield "mirrored_test", test.labels, (found + probabilities(test.images[:, :, ::-1].copy())) / 2
