"""What networks cost, against a count by hand."""

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
    """Two operations for each multiplication of a weight, whatever is element-wise left out."""
    assert flops(build(params.models[key].layers)) == 2 * multiply_adds
