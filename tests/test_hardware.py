"""Device and precision: chosen once, or refused in one sentence."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fashion.cli.advice import explained
from fashion.errors import FashionError
from fashion.networks.building import build
from fashion.networks.hardware import Hardware, choose, place
from fashion.settings.description import Numerics
from fashion.settings.params import Params

PLAIN = Numerics(precision="fp32", compile=False, channels_last=True, deterministic=True, lanes=2, kernels="portable")


def chosen(device: str = "cpu", **changes: Any) -> Hardware:
    """The hardware chosen for a device and changed settings."""
    return choose(device, PLAIN.model_copy(update=changes))


def test_auto_chooses_what_is_available() -> None:
    """`auto` chooses a device that works and a precision, which the reason and the header's settings name."""
    assert torch.ones(2, device=chosen("auto").device).sum() == 2
    hardware = chosen(precision="auto")
    assert hardware.numerics.precision in ("bf16", "fp32")
    assert hardware.numerics.precision in hardware.why
    found = {"device": "cpu", "processor": hardware.processor, "precision": hardware.numerics.precision}
    assert hardware.record() == PLAIN.model_dump() | found


def test_a_gpu_computes_the_same_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are a part of the recipe, so a GPU, which is named, leaves their number as it is."""
    gpu = {"is_available": True, "device_count": 1, "get_device_name": "A GPU", "get_device_capability": (9, 0)}
    for name, value in gpu.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    hardware = chosen("cuda", lanes=3)
    assert hardware.record() == PLAIN.model_dump() | {"device": "cuda", "processor": "A GPU", "lanes": 3}
    assert hardware.why == "cuda (A GPU, 3 lanes), fp32 (as set)"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_layers_compute_in(precision: str, dtype: torch.dtype) -> None:
    """Under autocast a linear layer returns values in the chosen precision."""
    with chosen(precision=precision).autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cuda", "fp32", "gpu.device is cuda, which this machine or its torch lacks: set it to auto or cpu."),
        ("cuda:3", "fp32", "gpu.device is cuda:3, which"),
        ("cpu", "fp16", "gpu.precision fp16 needs a CUDA device, not cpu: set it to auto."),
    ],
)
def test_missing_devices_and_precisions_are_reported(device: str, precision: str, expected: str) -> None:
    """A missing device, and a precision that a device lacks, are each reported in one sentence with the fix."""
    with pytest.raises(FashionError) as caught:
        chosen(device, precision=precision)
    assert expected in str(caught.value)


def _out_of_gpu_memory() -> None:
    """Raise torch's error for a full GPU memory."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        *((action, r"out of memory: .*\.") for action in (lambda: torch.empty(2**50), lambda: np.empty(2**50))),
        (_out_of_gpu_memory, r"out of memory: .*\."),
        (Path("a.csv").read_text, r"a\.csv is not here: dvc repro makes it, or git restore, if it was committed\."),
    ],
)
def test_expected_errors_are_one_sentence(action: Callable[[], object], expected: str) -> None:
    """If memory is too small, or a file is missing, the program ends with one sentence that has the fix."""
    with pytest.raises(SystemExit, match=f"^error: {expected}$"), explained():
        action()


@pytest.mark.slow
def test_a_missing_compiler_is_reported() -> None:
    """If torch.compile finds no compiler, the message names the setting that enables it."""
    code = "import torch; from fashion.cli.advice import explained; network = torch.nn.Sequential(torch.nn.ReLU())"
    code += "\nnetwork.compile()\nwith explained(): network(torch.ones(1, 2))"
    environment = os.environ | {"CXX": "nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    expected = r"error: torch could not compile the network \(.*\): set gpu\.compile to false in params\.yaml\."
    assert (done.returncode, bool(re.fullmatch(expected, done.stderr.splitlines()[-1]))) == (1, True)


def test_unexpected_errors_are_raised_unchanged() -> None:
    """An error without a known fix keeps its type and traceback."""
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explained():
        torch.ones(2, 3) @ torch.ones(2, 3)


SLOWER = "portable kernels; this processor has faster ones, which change the bytes (gpu.kernels: fastest)"
OTHER = "portable kernels: without AVX512-BF16, so bytes differ from those of processors with it"


@pytest.mark.parametrize(
    ("kernels", "has", "processor", "expected"),
    [
        ("portable", ["avx2", "avx512_f", "avx512_bf16"], "AVX512-BF16", "portable kernels"),
        ("fastest", ["avx512_bf16", "amx_bf16"], "AMX", "fastest kernels"),
        ("portable", ["avx512_bf16", "amx_bf16"], "AVX512-BF16", SLOWER),
        ("portable", ["avx2"], "AVX2", OTHER),
        ("portable", [], "aarch64", OTHER),
    ],
)
def test_the_processors_effect_on_the_bytes_is_reported(
    monkeypatch: pytest.MonkeyPatch, kernels: str, has: list[str], processor: str, expected: str
) -> None:
    """The reasons end with the kernels, whether there are faster ones, and whether bytes differ between processors.

    The record names the newest instructions that the kernels use, and so is the same where the bytes are.
    """
    features = {"architecture": "aarch64", **dict.fromkeys(has, True)}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    hardware = chosen(kernels=kernels)
    assert hardware.why.endswith(f", {expected}")
    assert hardware.record()["processor"] == processor


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns
@pytest.mark.parametrize("key", ["cnn", "alexnet", "conv4_pool2_bn", pytest.param("compiled", marks=pytest.mark.slow)])
def test_a_placed_network_computes_the_same(params: Params, key: str) -> None:
    """Its values and gradients equal, to the bit, those of the layers in their order; compiled, except for rounding."""
    compiled = key == "compiled"
    hardware = chosen("auto", compile=True) if compiled else chosen()
    network = build(params.models["lenet5" if compiled else key].layers)
    placed, images = place(network, hardware), torch.rand(4, 1, 28, 28, device=hardware.device)
    results = []
    for form in (placed, network):
        torch.manual_seed(0)
        output = form(images)
        results.append([output, *torch.autograd.grad(output.square().sum(), list(network.parameters()))])
    assert compiled or [type(layer) for layer in placed] != [type(layer) for layer in network]
    torch.testing.assert_close(*results, atol=1e-4 if compiled else 0, rtol=1e-3 if compiled else 0)
