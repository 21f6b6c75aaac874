"""oneDNN's convolutions with portable kernels: none of them is slow, and all of them are right."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from fashion.environment import PORTABLE, Precision, native
from fashion.networks.building import build
from fashion.settings.params import Params
from tests.conftest import ROOT

CODE = """
import sys
from fashion.environment import prepare
prepare("portable", sys.argv[1])

from tests.test_kernels import check_convolutions
check_convolutions(sys.argv[1])
"""
# For each precision, one that is exact beside it, and the largest error of a result, as a share of the largest result.
EXACT = {"bf16": (torch.bfloat16, torch.float32, 2**-6), "fp32": (torch.float32, torch.float64, 2**-16)}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_convolutions_are_fast_and_right(precision: Precision) -> None:
    """No convolution uses a reference kernel; results and gradients are exact, except for the precision's rounding."""
    if not native(precision):
        pytest.skip(f"needs a processor with {PORTABLE[precision].name}")
    command = ["env", "ONEDNN_VERBOSE=profile_exec", sys.executable, "-c", CODE, precision]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,...
    kernels = [line.split(",")[5:7] for line in done.stdout.splitlines() if ",exec,cpu," in line]
    assert "convolution" in {primitive for primitive, _ in kernels}
    assert [kernel for kernel in kernels if "ref" in kernel[1]] == []


def check_convolutions(precision: str) -> None:
    """Compare every convolution of params.yaml in that precision with an exact one."""
    rounded, exact, share = EXACT[precision]
    found = {}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor], _: Tensor) -> None:
        found[inputs[0].shape[1:], str(layer)] = layer

    for row in Params.load().models.values():
        network = build(row.layers)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(note)
        network(torch.zeros(2, 1, 28, 28))
    assert len(found) > 20
    for (shape, _), layer in found.items():
        maps = torch.randn(16, *shape).to(memory_format=torch.channels_last)
        weight = layer.weight.detach().to(memory_format=torch.channels_last)
        results = []
        for dtype in (exact, rounded):
            x, w = (tensor.bfloat16().to(dtype).requires_grad_() for tensor in (maps, weight))
            output = nn.functional.conv2d(x, w, None, layer.stride, layer.padding, groups=layer.groups)
            results.append([output, *torch.autograd.grad(output.square().sum() / 2, [x, w])])
        for right, result in zip(*results, strict=True):
            # Results are rounded, and gradients are computed from rounded results.
            torch.testing.assert_close(result.to(exact), right, rtol=0, atol=share * right.abs().max().item())
