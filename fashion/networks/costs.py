"""The floating-point operations of a network."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fashion.data.datasets import SIDE
from fashion.networks.layers import PartialConv2d

# The layers that multiply by weights.
WEIGHTED = (nn.Conv2d, nn.Linear, PartialConv2d)


@torch.inference_mode()
def flops(network: nn.Sequential) -> int:
    """Floating-point operations of one image's forward pass: convolutions and matrix products, two per multiply-add.

    Element-wise operations and pooling are left out, also pooling and normalisation that are computed as convolutions.
    A training step takes about three times as many per image.
    """
    # On no device, where nothing is computed, and layers use torch's own operations, which the counter knows.
    network = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, SIDE, SIDE, device="meta"))
    counts, modules = counter.get_flop_counts(), network.named_modules()
    layers = [counts[f"Sequential.{name}"] for name, module in modules if isinstance(module, WEIGHTED)]
    return int(sum(sum(by_operation.values()) for by_operation in layers))
