"""The floating-point operations of a network."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fashion.data.datasets import SIDE


@torch.inference_mode()
def flops(network: nn.Module) -> int:
    """Floating-point operations of one image's forward pass: convolutions and matrix products, two per multiply-add.

    Element-wise operations are left out. A training step takes about three times as many per image.
    """
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 1, SIDE, SIDE))
    return int(counter.get_total_flops())
