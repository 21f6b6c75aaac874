"""From stored images to what a network sees and says: selection, augmentation, scaling, logits; on their device."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fashion.threads import each

# The largest maps, AlexNet's first, then take 30 MB in fp32. glibc maps blocks above 32 MB anew every time, and the
# page faults make a batch of 500 up to 1.7 times as slow an image.
INFERENCE_BATCH = 100


def scaled(images: Tensor, black: float, white: float) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 1, 28, 28), 0 becoming `black` and 255 `white`."""
    return (images.unsqueeze(1) * ((white - black) / 255)).add_(black)


def views(images: Tensor, flip: bool, shift: int) -> Tensor:
    """Every view that `augmented` may take of uint8 images (n, 28, 28), as windows that share memory.

    uint8 of shape (n or 2n, 2 shift + 1, 2 shift + 1, 28, 28): first the images, then, if `flip`, the mirrored ones,
    each moved up and left by 0 to 2 `shift` pixels within a margin of `shift` pixels of background.
    """
    side = images.shape[1]
    both = torch.cat([images, images.flip(2)]) if flip else images
    return functional.pad(both, (shift, shift, shift, shift)).unfold(1, side, 1).unfold(2, side, 1)


def augmented(source: Tensor, index: Tensor, flip: bool, erase: int, generator: torch.Generator) -> Tensor:
    """Pick images from their `views` and vary each by draws of its own: uint8 (len(index), 28, 28).

    Mirrored with probability 1/2 if `flip` (as `views` was told), moved by up to `shift` pixels each way, and blanked
    in a square of `erase` pixels with its centre anywhere (cutout: DeVries and Taylor 2017, arXiv 1708.04552); one
    gather does the first two.
    """
    places, side, device = source.shape[1], source.shape[3], source.device

    def draw(below: int) -> Tensor:
        return torch.randint(below, index.shape, generator=generator, device=device)

    if flip:
        index = index + draw(2) * (len(source) // 2)
    # A whole image is copied five times as fast as a window.
    images = source[index, draw(places), draw(places)] if places > 1 else source.index_select(0, index)[:, 0, 0]
    if erase:
        pixels = torch.arange(side, device=device)
        top, left = (draw(side)[:, None] - erase // 2 for _ in range(2))
        inside_rows = (pixels >= top) & (pixels < top + erase)
        inside_columns = (pixels >= left) & (pixels < left + erase)
        images.masked_fill_(inside_rows[:, :, None] & inside_columns[:, None, :], 0)
    return images


def logits(
    network: nn.Module, images: Tensor, black: float, white: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Logits, float32 of shape (n, 10), for uint8 images (n, 28, 28) on the network's device, without augmentation.

    dtype: what layers compute in. Each batch is computed by one thread, so that the cores change no bit.
    """
    network.eval()
    device = images.device.type

    def of_batch(batch: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            output: Tensor = network(scaled(batch, black, white)).float()
        return output

    batches = images.split(INFERENCE_BATCH)
    return torch.cat(each(of_batch, batches) if device == "cpu" else [of_batch(batch) for batch in batches])
