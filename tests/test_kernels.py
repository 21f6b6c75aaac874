"""oneDNN's convolutions in bf16: none of them is slow, and all of them are right."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from fashion.networks.building import build
from fashion.settings.params import Params
from tests.conftest import ROOT

# With the kernels of params.yaml.
CODE = """
from fashion.settings.params import Params
from fashion.environment import prepare
params = Params.load()
prepare(params.gpu.kernels)

from tests.test_kernels import check_convolutions
check_convolutions(params)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="needs a processor with bf16")
def test_convolutions_in_bf16_are_fast_and_right() -> None:
    """No convolution uses a reference kernel; results and gradients equal those in fp32, except for bf16's rounding."""
    command = ["env", "ONEDNN_VERBOSE=profile_exec", sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,...
    kernels = [line.split(",")[5:7] for line in done.stdout.splitlines() if ",exec,cpu," in line]
    assert "convolution" in {primitive for primitive, _ in kernels}
    assert [kernel for kernel in kernels if "ref" in kernel[1]] == []


def check_convolutions(params: Params) -> None:
    """Compare every convolution of params.yaml in bf16 with the one in fp32."""
    found = {}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor], _: Tensor) -> None:
        found[inputs[0].shape[1:], str(layer)] = layer

    for row in params.models.values():
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
        for dtype in (torch.float32, torch.bfloat16):
            x, w = (tensor.bfloat16().to(dtype).requires_grad_() for tensor in (maps, weight))
            output = nn.functional.conv2d(x, w, None, layer.stride, layer.padding, groups=layer.groups)
            results.append([output, *torch.autograd.grad(output.square().sum() / 2, [x, w])])
        for exact, rounded in zip(*results, strict=True):
            # Results are rounded to 8 bits, and gradients are computed from rounded results.
            torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=2**-6 * exact.abs().max().item())
