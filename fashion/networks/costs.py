"""The floating-point operations of a network."""

import math

import torch
from torch import Tensor, nn

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
    counts = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        """Each weight multiplies one value for each place in the output's maps; a dense layer's output is one place."""
        shape = layer.shape if isinstance(layer, PartialConv2d) else layer.get_parameter("weight").shape
        counts.append(2 * math.prod(shape) * output.shape[2:].numel())

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, WEIGHTED)]
    # The output for no images has a shape, and takes no time.
    network.eval()(torch.zeros(0, 1, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return sum(counts)
