"""The cost of networks, checked against a count by hand."""

import pytest

from fashion.networks.building import build
from fashion.networks.costs import flops
from fashion.settings.params import Params

DENSE = 784 * 512 + 512 * 256 + 256 * 10
CONVOLUTIONS = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9


@pytest.mark.parametrize(
    ("key", "multiply_adds"),
    [("fcnn", DENSE), ("cnn", CONVOLUTIONS + 1568 * 512 + 512 * 256 + 256 * 10)],
)
def test_operations_are_counted_as_by_hand(params: Params, key: str, multiply_adds: int) -> None:
    """Each multiplication by a weight counts as two operations, and element-wise operations are not counted."""
    assert flops(build(params.models[key].layers)) == 2 * multiply_adds
