"""oneDNN's kernels: none of them is slow, and all of them are right."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from fashion.networks.building import build
from fashion.settings.params import Params
from tests.conftest import ROOT

# One training step of each architecture, in the precision chosen for this processor.
STEPS = """
from fashion.settings.params import Params
from fashion.running.environment import prepare
params = Params.load()
prepare(params.gpu.kernels)

import numpy as np
from fashion.data.reading import Part
from fashion.training.hardware import choose
from fashion.networks.building import build
from fashion.training.engine import begin, train

part = Part(np.zeros((8, 28, 28), np.uint8), np.arange(8))
hardware = choose("cpu", params.gpu)
for key, row in params.models.items():
    print("architecture", key, flush=True)
    recipe = row.train.model_copy(update={"epochs": 1, "batch_size": 8})
    list(train(begin(build(row.layers), row.model_copy(update={"train": recipe}), 0, hardware), part, part))
"""

# The convolutions, with the kernels of params.yaml.
CONVOLUTIONS = """
from fashion.settings.params import Params
from fashion.running.environment import prepare
params = Params.load()
prepare(params.gpu.kernels)

from tests.test_kernels import check_convolutions
check_convolutions(params)
"""


def test_no_step_uses_a_reference_kernel(params: Params) -> None:
    """In oneDNN's log of one step of every architecture, no primitive uses a reference implementation."""
    command = ["env", "ONEDNN_VERBOSE=profile_exec", sys.executable, "-c", STEPS]
    log = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    assert sum(line.startswith("architecture") for line in log) == len(params.models)
    # onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,...
    kernels = [line.split(",")[5:7] for line in log if ",exec,cpu," in line]
    assert "convolution" in {primitive for primitive, _ in kernels}
    assert [kernel for kernel in kernels if "ref" in kernel[1]] == []


Shape = tuple[torch.Size, torch.Size, tuple[int, ...], tuple[int, ...], int]


def convolutions(params: Params) -> set[Shape]:
    """The shapes of input and weights, strides, padding and groups of each convolution in params.yaml."""
    found = set[Shape]()

    def note(layer: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(layer.padding, tuple)
        found.add((inputs[0].shape[1:], layer.weight.shape, layer.stride, layer.padding, layer.groups))

    for row in params.models.values():
        network = build(row.layers)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(note)
        network(torch.zeros(2, 1, 28, 28))
    return found


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="needs a processor with bf16")
def test_convolutions_in_bf16_are_right() -> None:
    """Results and gradients of every convolution in bf16 equal those in fp32, except for the rounding of bf16."""
    command = [sys.executable, "-c", CONVOLUTIONS]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_convolutions(params: Params) -> None:
    """Compare every convolution in bf16 with the one in fp32."""
    shapes = convolutions(params)
    assert len(shapes) > 20
    for inputs, weights, stride, padding, groups in shapes:
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(16, *inputs, generator=generator).to(memory_format=torch.channels_last)
        weight = torch.randn(weights, generator=generator).to(memory_format=torch.channels_last)
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            x, w = (tensor.bfloat16().to(dtype).requires_grad_() for tensor in (maps, weight))
            output = nn.functional.conv2d(x, w, stride=stride, padding=padding, groups=groups)
            results.append([output, *torch.autograd.grad(output.square().sum() / 2, [x, w])])
        for exact, rounded in zip(*results, strict=True):
            # Results are rounded to 8 bits, and gradients are computed from rounded results.
            torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=2**-6 * exact.abs().max().item())
