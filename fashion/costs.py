"""What a network costs to compute."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fashion.data import SIDE


@torch.inference_mode()
def flops(network: nn.Module) -> int:
    """Floating-point operations of one image's forward pass in convolutions and matrix products, two a multiply-add.

    What is element-wise is left out. A training step takes about three times as many an image.
    """
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 1, SIDE, SIDE))
    return int(counter.get_total_flops())
