"""Layers that torch.nn lacks (residual blocks, those of LeNet-5 in 1998) or computes slowly.

"The paper" is LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998, section II.B.
"""

import math
from itertools import accumulate, pairwise
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# The dimensions of feature maps: image, channel, row, column.
MAPS = 4
Positive = Annotated[int, Field(ge=1)]
# Words of digits, at least one.
Words = Annotated[str, Field(pattern=r"^[0-9]+(\s+[0-9]+)*$")]
# The share of values to drop. More would leave no value in most rows, and multiply one that is left by over a hundred.
Share = Annotated[float, Field(ge=0, le=0.99)]


def linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(n, in_features) -> (n, out_features), as torch.nn.functional.linear, but in fp32 on CPUs by oneDNN.

    torch would use MKL, whose portable form takes twice as long as its fastest; oneDNN takes about as long as that one.
    """
    if not (
        features.device.type == "cpu"
        and features.dtype == weight.dtype == torch.float32
        and features.dim() == weight.dim()
        and torch.backends.mkldnn.is_available()
        # Autocast chooses types itself. A compiled or exported network needs torch's own operation.
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    ):
        return functional.linear(features, weight, bias)
    output: Tensor = _Linear.apply(features, weight, bias)
    return output


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weight)
        return _product(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        features, weight = ctx.saved_tensors
        of_features, _, of_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_features else None,
            _product(gradient.t(), features.t()),
            gradient.sum(0) if of_bias else None,
        )


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product with a transposed matrix, plus the bias: (n, k), (m, k), (m) -> (n, m)."""
    # The operation of compiled networks; no public one multiplies by oneDNN in fp32.
    output: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return output


class Linear(nn.Linear):
    """torch.nn.Linear, by `linear`."""

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_features) -> (n, out_features)."""
        return linear(features, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d, as a matrix product if the kernel covers its input, as in LeNet-5's last convolution.

    On a CPU this takes a third of the time (120 maps from 16x4x4), and saves 5 % of the whole step.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(n, in_channels, height, width) -> (n, out_channels, new height, new width)."""
        plain = (self.padding, self.dilation, self.groups) == ((0, 0), (1, 1), 1)
        if not plain or self.kernel_size != maps.shape[2:]:
            return super().forward(maps)
        return linear(maps.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


class Conv3x3(Conv2d):
    """A 3x3 convolution that keeps height and width, without a bias, since a batch norm follows it."""

    def __init__(self, in_channels: int, out_channels: Positive) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


class Separable3x3(nn.Sequential):
    """A 3x3 convolution of each channel and a 1x1 convolution of all; height and width stay the same.

    Without biases, since a batch norm follows, and without one in between, unlike in MobileNets (Howard et al. 2017,
    arXiv 1704.04861, section 3.1).
    """

    def __init__(self, in_channels: int, out_channels: Positive) -> None:
        depthwise = Conv2d(in_channels, in_channels, kernel_size=3, padding=1, groups=in_channels, bias=False)
        super().__init__(depthwise, Conv2d(in_channels, out_channels, kernel_size=1, bias=False))


class Residual(nn.Module):
    """Blocks in a row; each adds its body's output to its input: He, Zhang, Ren and Sun 2016, arXiv 1603.05027.

    shortcuts: what gives each body's input the shape of its output; the identity if it has that shape already.
    """

    def __init__(self, bodies: list[nn.Module], shortcuts: list[nn.Module]) -> None:
        super().__init__()
        self.bodies, self.shortcuts = nn.ModuleList(bodies), nn.ModuleList(shortcuts)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, height, width) -> the shape of the last body's output."""
        for body, shortcut in zip(self.bodies, self.shortcuts, strict=True):
            maps = shortcut(maps) + body(maps)
        return maps


class ScaledTanh(nn.Module):
    """1.7159 tanh(2a/3), the paper's squashing function (its appendix A): it maps +-1 to +-1."""

    def forward(self, activations: Tensor) -> Tensor:
        """Of any shape, which stays the same."""
        return 1.7159 * torch.tanh(activations * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each block of pixels times a trainable coefficient, plus a trainable bias: one pair for each map."""

    def __init__(self, in_channels: int, kernel_size: Positive) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        # With a coefficient of 1/area, training starts from the block's mean, as in average pooling.
        self.weight = nn.Parameter(torch.full((in_channels, 1, 1), 1 / kernel_size**2))
        self.bias = nn.Parameter(torch.zeros(in_channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, height, width) -> (n, channels, height / kernel_size, width / kernel_size)."""
        return functional.avg_pool2d(maps, self.kernel_size) * (self.weight * self.kernel_size**2) + self.bias


class PartialConv2d(nn.Module):
    """A convolution in which each output map sees some of the input maps.

    connections: strings with one word for each output map: the digits of the input maps that it sees. The names of the
    strings have no meaning. Only connections have weights: shape (connections, kernel_size, kernel_size).
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: Positive,
        connections: Annotated[dict[str, Words], Field(min_length=1)],
    ) -> None:
        super().__init__()
        words = " ".join(connections.values()).split()
        pairs = [(target, int(digit)) for target, word in enumerate(words) for digit in word]
        if any(source >= in_channels for _, source in pairs):
            raise ValueError(
                f"connections name an input map that does not exist: there are {in_channels}, counted from 0"
            )
        if len({*pairs}) < len(pairs):
            raise ValueError("connections name an input map twice for one output map")
        self.shape = (len(words), in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(len(words)))
        self.targets: Tensor
        self.sources: Tensor
        targets, sources = zip(*pairs, strict=True)
        self.register_buffer("targets", torch.tensor(targets), persistent=False)
        self.register_buffer("sources", torch.tensor(sources), persistent=False)
        # As in torch.nn.Conv2d: uniform within 1/sqrt(fan in), here of each map.
        ends = pairwise(accumulate(map(len, words), initial=0))
        for target, (start, end) in enumerate(ends):
            bound = ((end - start) * kernel_size**2) ** -0.5
            nn.init.uniform_(self.bias.data[target], -bound, bound)
            nn.init.uniform_(self.weight.data[start:end], -bound, bound)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, in_channels, height, width) -> (n, maps, height - kernel_size + 1, width - kernel_size + 1)."""
        dense = self.weight.new_zeros(self.shape).index_put((self.targets, self.sources), self.weight)
        return functional.conv2d(maps, dense, self.bias)


class CodeDistance(nn.Module):
    """Minus the squared Euclidean distance to a fixed code of +-1 for each class: the nearest class is the likeliest.

    The paper's codes are drawings of digits. These are Walsh functions: any two differ in about half of their places
    (40 or 42 of 84), so all classes are about equally far apart. There is no trainable parameter.
    """

    def __init__(self, in_features: int, classes: Positive) -> None:
        super().__init__()
        self.codes: Tensor
        self.register_buffer("codes", torch.empty(classes, in_features), persistent=False)
        if not self.codes.is_meta:
            # The parity of the bits that the numbers of class and place share.
            # Number 0 has a constant code: count from 1.
            bits = np.arange(1, classes + 1)[:, None] & np.arange(in_features)
            self.codes.copy_(torch.from_numpy(1.0 - 2 * (np.bitwise_count(bits) % 2)))

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_features) -> (n, classes)."""
        return -(features[:, None, :] - self.codes).square().sum(2)


class LocalResponseNorm(nn.Module):
    """torch.nn.LocalResponseNorm as a 1x1 convolution with a banded matrix over the channels.

    It takes a quarter of the time on CPUs (forward and backward, 96x13x13 maps), and is deterministic on CUDA. Under
    autocast the sum of squares is computed in the lower precision, and its power in fp32: in the lower precision 1 + a
    small sum would be rounded to 1. Krizhevsky, Sutskever and Hinton 2012, section 3.3, with alpha divided by size.
    """

    def __init__(self, in_channels: int, size: Positive, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.beta, self.k = beta, k
        self.band: Tensor
        self.register_buffer("band", torch.empty(in_channels, in_channels, 1, 1), persistent=False)
        if not self.band.is_meta:
            band = np.tri(in_channels, k=(size - 1) // 2) - np.tri(in_channels, k=-(size // 2) - 1)
            self.band[:, :, 0, 0] = torch.from_numpy(band * (alpha / size))

    def forward(self, maps: Tensor) -> Tensor:
        """(n, in_channels, height, width) -> the same shape."""
        sums = functional.conv2d(maps.square(), self.band)
        return (maps * (sums.float() + self.k) ** -self.beta).to(maps.dtype)


class Dropout(nn.Module):
    """torch.nn.Dropout; on CPUs each random 64-bit word gives the mask of four values.

    torch draws value by value there: a step of `cnn` takes 4 % longer. The share dropped is p, rounded to a
    multiple of 1/65,536.
    generator: the source of the bits; torch's own generator if None.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: Share = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        """Of any shape, which stays the same."""
        if not self.training or values.device.type != "cpu":
            return functional.dropout(values, self.p, self.training)
        # In the values' memory format: otherwise channels_last maps would be reordered.
        return values * self.draw(values, values.shape, values.stride()) * (1 / (1 - self.p))

    def draw(self, like: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        """A mask, 1 for the values to keep and 0 for the others, in the type of a tensor."""
        words = torch.empty(-(-math.prod(shape) // 4), dtype=torch.int64)
        words.random_(-(2**63), None, generator=self.generator)
        # Multiplying by booleans takes five times as long.
        mask = like.new_empty_strided(shape, strides)
        return torch.ge(words.view(torch.int16).as_strided(shape, strides), round(self.p * 2**16) - 2**15, out=mask)


class Dropout2d(Dropout):
    """torch.nn.Dropout2d, with masks as in `Dropout`: whole maps are dropped."""

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, height, width) -> the same shape."""
        if maps.dim() != MAPS:
            raise ValueError("it drops whole maps")
        if not self.training or maps.device.type != "cpu":
            return functional.dropout2d(maps, self.p, self.training)
        channels = maps.shape[1]
        return maps * self.draw(maps, (len(maps), channels, 1, 1), (channels, 1, 1, 1)) * (1 / (1 - self.p))
