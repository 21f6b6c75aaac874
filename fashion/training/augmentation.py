"""Augmentation: random changes of training images, batch by batch, on their device."""

import torch
from torch import Tensor
from torch.nn import functional

from fashion.settings.description import Augment


def views(images: Tensor, augment: Augment) -> Tensor:
    """Every mirrored and moved view of uint8 images (n, 28, 28), as windows that share memory.

    uint8 of shape (n or 2n, 2 shift + 1, 2 shift + 1, 28, 28): first the images, then, if `flip`, the mirrored ones,
    each moved up and left by 0 to 2 `shift` pixels within a margin of `shift` background pixels.
    """
    side, shift = images.shape[1], augment.shift
    both = torch.cat([images, images.flip(2)]) if augment.flip else images
    return functional.pad(both, (shift, shift, shift, shift)).unfold(1, side, 1).unfold(2, side, 1)


def augmented(source: Tensor, index: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """Pick images from their `views`, each with random changes of its own: uint8 (len(index), 28, 28).

    A single gather mirrors and moves. The centre of the square that `erase` blanks out may be anywhere (cutout: DeVries
    and Taylor 2017, arXiv 1708.04552).
    """
    places, side, device = source.shape[1], source.shape[3], source.device

    def draw(below: int) -> Tensor:
        return torch.randint(below, index.shape, generator=generator, device=device)

    if augment.flip:
        index = index + draw(2) * (len(source) // 2)
    # Copying a whole image takes a fifth of the time of copying a window.
    images = source[index, draw(places), draw(places)] if places > 1 else source.index_select(0, index)[:, 0, 0]
    if augment.erase:
        pixels = torch.arange(side, device=device)
        top, left = (draw(side)[:, None] - augment.erase // 2 for _ in range(2))
        inside_rows = (pixels >= top) & (pixels < top + augment.erase)
        inside_columns = (pixels >= left) & (pixels < left + augment.erase)
        images.masked_fill_(inside_rows[:, :, None] & inside_columns[:, None, :], 0)
    return images
