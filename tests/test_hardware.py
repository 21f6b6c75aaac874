"""Device and precision: chosen once, refused in one sentence."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fashion.errors import FashionError
from fashion.networks.building import build
from fashion.running.advice import explained
from fashion.settings.description import Numerics
from fashion.settings.params import Params
from fashion.training.hardware import Hardware, choose, place

PLAIN = Numerics(precision="fp32", compile=False, channels_last=True, deterministic=True, lanes=2, kernels="portable")


def chosen(device: str = "cpu", **changes: Any) -> Hardware:
    """The choice for a device and changed settings."""
    return choose(device, PLAIN.model_copy(update=changes))


def test_auto_takes_what_there_is() -> None:
    """`auto` ends in a device that works and a precision that it has, with the reason in words."""
    hardware = chosen("auto", precision="auto")
    assert torch.ones(2, device=hardware.device).sum() == 2
    assert hardware.numerics.precision in ("bf16", "fp32")
    assert hardware.numerics.precision in hardware.why


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_layers_compute_in(precision: str, dtype: torch.dtype) -> None:
    """Under autocast a linear layer gives values of the precision."""
    with chosen(precision=precision).autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_what_determines_numbers_is_recorded() -> None:
    """The header's settings hold the choices, not the `auto`s."""
    settings = chosen(precision="auto").settings()
    assert settings.pop("precision") in ("bf16", "fp32")
    assert settings == {
        "device": "cpu",
        "channels_last": True,
        "compile": False,
        "deterministic": True,
        "lanes": 2,
        "kernels": "portable",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cuda", "fp32", "gpu.device is cuda, which this machine or its torch lacks: set it to auto or cpu."),
        ("cuda:3", "fp32", "gpu.device is cuda:3, which"),
        ("cpu", "fp16", "gpu.precision fp16 needs a CUDA device, not cpu: set it to auto."),
    ],
)
def test_what_is_not_there_is_reported(device: str, precision: str, expected: str) -> None:
    """A missing device and a precision that it lacks are one sentence with the cure."""
    with pytest.raises(FashionError) as caught:
        chosen(device, precision=precision)
    assert expected in str(caught.value)


def test_too_little_memory_is_told() -> None:
    """What does not fit the memory, the CPU's or a GPU's, ends in one sentence with the cure."""
    for action in (lambda: torch.empty(2**50), lambda: np.empty(2**50), _out_of_gpu_memory):
        with pytest.raises(SystemExit, match=r"^error: there is too little memory: .*\.$"), explained():
            action()


def test_a_file_that_no_stage_has_made_is_told(tmp_path: Path) -> None:
    """What is not there is named with the cure, not with the system's number for it."""
    told = r"^error: .*/split\.csv is not here: dvc repro makes what a stage reads\.$"
    with pytest.raises(SystemExit, match=told), explained():
        (tmp_path / "split.csv").read_text()


@pytest.mark.slow
def test_a_missing_compiler_is_told() -> None:
    """Where torch.compile finds no compiler, the setting that asked for it is named."""
    code = """
import torch
from fashion.running.advice import explained
network = torch.nn.Sequential(torch.nn.Linear(2, 2))
network.compile()
with explained():
    network(torch.ones(1, 2))
"""
    environment = os.environ | {"CXX": "nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: torch could not compile the network (")
    assert last.endswith("): set gpu.compile to false in params.yaml.")


def test_other_errors_stay_errors() -> None:
    """A mistake in the program shows where it is."""
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explained():
        torch.ones(2, 3) @ torch.ones(2, 3)


def _out_of_gpu_memory() -> None:
    """What torch raises when a GPU's memory is full."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("kernels", "processor", "expected"),
    [
        ("portable", {"avx512_bf16": True}, "portable kernels"),
        ("fastest", {"avx512_bf16": True, "amx_bf16": True}, "fastest kernels"),
        (
            "portable",
            {"avx512_bf16": True, "amx_bf16": True},
            "portable kernels, though there are faster ones: gpu.kernels: fastest takes them, and changes the bytes",
        ),
        (
            "portable",
            {"avx2": True},
            "portable kernels: without AVX512-BF16, so bytes differ from those of processors with it",
        ),
    ],
)
def test_what_the_processor_means_for_the_bytes_is_reported(
    monkeypatch: pytest.MonkeyPatch, kernels: str, processor: dict[str, bool], expected: str
) -> None:
    """The reasons end with the kernels, what faster ones there are, and whether the bytes can be the committed ones."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert chosen(kernels=kernels).why.endswith(f", {expected}")


@pytest.mark.parametrize("key", ["cnn", "alexnet", "conv4_pool2_bn"])
def test_a_placed_network_is_the_network(params: Params, key: str) -> None:
    """What a device computes is, to the bit, what the layers in their own order give: values and gradients."""
    network, images = build(params.models[key].layers), torch.rand(4, 1, 28, 28)
    placed = place(network, chosen())
    assert [type(layer) for layer in placed] != [type(layer) for layer in network]
    results = []
    for form in (network, placed):
        torch.manual_seed(0)
        network.zero_grad()
        output = form(images)
        functional.cross_entropy(output, torch.arange(4)).backward()
        results.append((output, [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]))
    (plain, gradients), (fast, same) = results
    assert torch.equal(plain, fast)
    assert len(gradients) == len(list(network.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(gradients, same, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler has warnings of its own
def test_compiling_changes_no_result(params: Params) -> None:
    """On the device at hand a compiled network has the logits and gradients of the network itself, to float order."""
    hardware = chosen("auto", compile=True)
    network, images = build(params.models["lenet5"].layers), torch.rand(4, 1, 28, 28, device=hardware.device)
    placed = place(network, hardware)
    results = []
    for form in (placed, network):
        output = form(images)
        results.append([output, *torch.autograd.grad(output.square().sum(), list(network.parameters()))])
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-3)
