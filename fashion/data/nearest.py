"""The nearest image of other images, by the sum of squared differences, mirrored and moved."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fashion.threads import each

# Images that a thread compares at once: their distances take 60 MB.
BLOCK = 250
# Images for each view whose distances are computed again, exactly.
CANDIDATES = 2
Images = NDArray[np.uint8]
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def nearest(images: Images, others: Images, after_block: Callable[[], object] = lambda: None) -> Found:
    """For each image: the index of the nearest of the others, the view, and the sum of squared differences.

    images, others: uint8 (n, 28, 28) and (m, 28, 28). The view is the number of one of the `views` of the image. Of
    others that are equally near, the one of the first view counts, then the first one. Of each view, only the
    CANDIDATES that are nearest by rounded distances are compared.
    """
    exact = torch.tensor(others).flatten(1).int()
    flat = exact.float()
    squares = flat.square().sum(1)

    def search(part: Tensor) -> Found:
        block = views(part)
        # Rounded distances, without the term that all have in common: they take a tenth of the time of whole numbers.
        rough = (squares - 2 * view.float() @ flat.T for view in block)
        candidates = torch.stack([row.topk(CANDIDATES, largest=False).indices.sort()[0] for row in rough], 1)
        differences = block.movedim(0, 1)[:, :, None].int() - exact[candidates]
        sums = differences.square().sum(3).flatten(1).numpy()
        best = sums.argmin(1)
        rows = np.arange(len(best))
        after_block()
        return candidates.flatten(1).numpy()[rows, best], best // CANDIDATES, sums[rows, best]

    index, view, total = zip(*each(search, torch.tensor(images).split(BLOCK)), strict=True)
    return np.concatenate(index), np.concatenate(view), np.concatenate(total)


def views(images: Tensor) -> Tensor:
    """The 18 views of uint8 images (n, 28, 28), flat: (18, n, 784).

    First the images moved by up to one pixel each way, row by row from up and left to down and right, then their mirror
    images.
    """
    both = functional.pad(torch.stack([images, images.flip(2)]), (1, 1, 1, 1))
    side = images.shape[1]
    moved = [both[:, :, row : row + side, column : column + side] for row in (2, 1, 0) for column in (2, 1, 0)]
    return torch.stack(moved, 1).flatten(0, 1).flatten(2)
