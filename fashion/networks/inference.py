"""From stored images to logits and probabilities."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fashion.data.datasets import COMMON, of_full
from fashion.data.reading import read_part, read_split
from fashion.errors import FashionError
from fashion.networks.hardware import choose, configure, place
from fashion.settings.description import Description, Pixels
from fashion.threads import each

# The largest maps, AlexNet's first, then take 30 MB in fp32. glibc gets blocks above 32 MB from the system every time,
# and the page faults make a batch of 500 up to 1.7 times as slow per image.
INFERENCE_BATCH = 100


def scaled(images: Tensor, black: float, white: float) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 1, 28, 28): 0 becomes `black` and 255 becomes `white`."""
    return (images.unsqueeze(1) * ((white - black) / 255)).add_(black)


def logits(
    network: nn.Module, images: Tensor, black: float, white: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Logits, float32 (n, 10), for uint8 images (n, 28, 28) on the network's device, without augmentation.

    dtype: the precision of the layers. One thread computes each batch, so the number of cores changes no bit.
    """
    network.eval()
    device = images.device.type

    def of_batch(batch: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            output: Tensor = network(scaled(batch, black, white)).float()
        return output

    return torch.cat(each(of_batch, images.split(INFERENCE_BATCH), device))


def finite_logits(
    network: nn.Module, images: NDArray[np.uint8], pixels: Pixels, device: torch.device | str = "cpu"
) -> Tensor:
    """A network's logits for uint8 images (n, 28, 28): float32 (n, 10), on the CPU.

    device: where the network is. Raises FashionError if a logit is NaN or infinite.
    """
    output = logits(network, torch.tensor(images, device=device), pixels.black, pixels.white).cpu()
    if not output.isfinite().all():
        raise FashionError("these weights give logits that are NaN or infinite: train them again.")
    return output


def on_each_part(
    network: nn.Sequential, description: Description, device: str
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """Labels (n) and the network's probabilities (n, 10) for each part of the data.

    description: of the network's training. device: as in params.yaml. Computed in full precision on every machine,
    without augmentation. `common_validation` is the start of the validation part, which all splits have in common. The
    last part, `mirrored_test`, has the mean of the probabilities for each test image and for its mirror image.
    """
    hardware = choose(device, description.gpu)
    configure(hardware)
    placed, pixels = place(network, hardware), description.architecture.pixels

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return torch.softmax(finite_logits(placed, images, pixels, hardware.device).double(), 1).numpy()

    raw = Path("data/raw")
    whole = read_part(raw, "train")
    training, validation = read_split(Path(f"data/splits/{description.model}.csv"), whole)
    yield "train", training.labels, probabilities(training.images)
    found, common = probabilities(validation.images), of_full(COMMON, len(whole.labels))
    yield "validation", validation.labels, found
    yield "common_validation", validation.labels[:common], found[:common]
    test = read_part(raw, "test")
    found = probabilities(test.images)
    yield "test", test.labels, found
    yield "mirrored_test", test.labels, (found + probabilities(test.images[:, :, ::-1].copy())) / 2
