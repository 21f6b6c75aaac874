"""The cost of networks, checked against a count by hand."""

import pytest

from fashion.networks.building import build
from fashion.networks.costs import flops
from fashion.settings.params import Params

DENSE = 784 * 512 + 512 * 256 + 256 * 10
# AlexNet's last three convolutions, on 6x6 maps.
DEEP = 6 * 6 * 9 * (256 * 384 + 384 * 384 + 384 * 256)
CONVOLUTIONS = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9


@pytest.mark.parametrize(
    ("key", "multiply_adds"),
    [
        ("fcnn", DENSE),
        ("cnn", CONVOLUTIONS + 1568 * 512 + 512 * 256 + 256 * 10),
        # Average pooling and local response normalisation are computed as convolutions, and do not count.
        ("lenet5", 24 * 24 * 6 * 25 + 8 * 8 * 16 * 6 * 25 + 120 * 16 * 16 + 120 * 84 + 84 * 10),
        # Separable convolutions: 9 for each channel, then 1x1.
        ("champion_micro", 28 * 28 * 54 + 14 * 14 * (54 + 60) + 7 * 7 * (90 + 140 + 126 + 196) + 140),
        # Connections that are left out count.
        ("lenet5_1998", 28 * 28 * 150 + 10 * 10 * 2400 + 120 * 400 + 120 * 84),
        ("alexnet", 28 * 28 * 96 * 25 + 13 * 13 * 256 * 96 * 25 + DEEP + 1024 * 4096 + 4096 * 10),
    ],
)
def test_operations_are_counted_as_by_hand(params: Params, key: str, multiply_adds: int) -> None:
    """Each multiplication by a weight counts as two operations, and element-wise operations are not counted."""
    assert flops(build(params.models[key].layers)) == 2 * multiply_adds
