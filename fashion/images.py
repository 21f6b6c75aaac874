"""From stored images to what a network sees and says: selection, augmentation, scaling, logits; on their device."""

import torch
from torch import Tensor, nn

# The largest maps, AlexNet's first, then take 30 MB in fp32. glibc maps blocks above 32 MB anew every time, and the
# page faults make a batch of 500 up to 1.7 times as slow an image.
INFERENCE_BATCH = 100


def scaled(images: Tensor, black: float, white: float) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 1, 28, 28), 0 becoming `black` and 255 `white`."""
    return images.unsqueeze(1).float().mul_((white - black) / 255).add_(black)


def padded(images: Tensor, shift: int) -> Tensor:
    """The images with a margin of background as wide as they will be moved: what `augmented` draws from."""
    return torch.nn.functional.pad(images, (shift, shift, shift, shift))


def augmented(source: Tensor, index: Tensor, flip: bool, shift: int, erase: int, generator: torch.Generator) -> Tensor:
    """Pick images from `padded` ones and vary each by draws of its own.

    Moved by up to `shift` pixels each way, mirrored with probability 1/2 if `flip`, and blanked in a square of
    `erase` pixels with its centre anywhere (cutout: DeVries and Taylor 2017, arXiv 1708.04552); one gather does
    the first three.
    """
    count, side, device = len(index), source.shape[1] - 2 * shift, source.device

    def draw(below: int) -> Tensor:
        return torch.randint(below, (count, 1), generator=generator, device=device)

    pixels = torch.arange(side, device=device)
    rows = pixels + draw(2 * shift + 1) if shift else pixels.expand(count, -1)
    columns = torch.where(draw(2).bool(), side - 1 - pixels, pixels) if flip else pixels.expand(count, -1)
    if shift:
        columns = columns + draw(2 * shift + 1)
    images = source[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    if erase:
        top, left = (draw(side) - erase // 2 for _ in range(2))
        inside_rows = (pixels >= top) & (pixels < top + erase)
        inside_columns = (pixels >= left) & (pixels < left + erase)
        images.masked_fill_(inside_rows[:, :, None] & inside_columns[:, None, :], 0)
    return images


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor, black: float, white: float) -> Tensor:
    """Logits, float32 of shape (n, 10), for uint8 images (n, 28, 28) on the network's device, without augmentation."""
    network.eval()
    return torch.cat([network(scaled(batch, black, white)).float() for batch in images.split(INFERENCE_BATCH)])
