"""From stored images to logits."""

import torch
from torch import Tensor, nn

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

    batches = images.split(INFERENCE_BATCH)
    return torch.cat(each(of_batch, batches) if device == "cpu" else [of_batch(batch) for batch in batches])
