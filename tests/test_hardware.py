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
from fashion.environment import Precision
from fashion.errors import FashionError
from fashion.networks.building import build
from fashion.networks.hardware import Hardware, choose, place
from fashion.settings.description import Numerics
from fashion.settings.params import Params

PLAIN = Numerics(compile=False, channels_last=True, deterministic=True, kernels="portable")


def chosen(device: str = "cpu", precision: Precision = "fp32", **changes: Any) -> Hardware:
    """The hardware chosen for a device, a precision and changed settings."""
    return choose(device, PLAIN.model_copy(update=changes), precision)


def has(monkeypatch: pytest.MonkeyPatch, *features: str) -> None:
    """Let this processor have only these features, by Linux's names and by torch's."""
    monkeypatch.setattr("fashion.environment._flags", lambda: {*features})
    torchs = {feature.replace("avx512f", "avx512_f"): True for feature in features}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", **torchs})


def test_auto_chooses_what_is_available() -> None:
    """`auto` chooses a device that works."""
    assert torch.ones(2, device=chosen("auto").device).sum() == 2


@pytest.mark.parametrize(
    ("capability", "precision", "used", "words"),
    [
        ((9, 0), "bf16", "bf16", "bf16"),
        ((9, 0), "fp16", "fp16", "fp16"),
        ((7, 5), "fp32", "fp32", "fp32"),
        ((7, 5), "bf16", "fp32", "fp32 in place of bf16, which is not native here"),
    ],
)
def test_a_gpu_is_named_and_its_precision_native(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: Precision, used: str, words: str
) -> None:
    """A GPU computes in the row's precision if that is native, otherwise in fp32; it is named in words and record."""
    gpu = {"is_available": True, "device_count": 1, "get_device_name": "A GPU", "get_device_capability": capability}
    for name, value in gpu.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    hardware = chosen("cuda", precision)
    assert hardware.record() == PLAIN.model_dump() | {"device": "cuda", "processor": "A GPU", "precision": used}
    assert hardware.why == f"cuda (A GPU), {words}"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_layers_compute_in(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, dtype: torch.dtype
) -> None:
    """Under autocast a linear layer returns values in the chosen precision."""
    has(monkeypatch, "avx2", "fma", "avx512_bf16")
    with chosen(precision=precision).autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cuda", "fp32", "gpu.device is cuda, which this machine or its torch lacks: set it to auto or cpu."),
        ("cuda:3", "fp32", "gpu.device is cuda:3, which"),
        ("cpu", "fp16", "train.precision fp16 needs a CUDA device, not cpu: set it to fp32 or bf16."),
    ],
)
def test_missing_devices_and_precisions_are_reported(device: str, precision: Precision, expected: str) -> None:
    """A missing device, and a precision that a device lacks, are each reported in one sentence with the fix."""
    with pytest.raises(FashionError) as caught:
        chosen(device, precision)
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


PC, SERVER = ("avx2", "fma"), ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")


WITHOUT = "fastest kernels: without"


@pytest.mark.parametrize(
    ("features", "kernels", "precision", "used", "words"),
    [
        (PC, "portable", "fp32", ("AVX2", "fp32", "portable"), "fp32, portable kernels (AVX2)"),
        (
            SERVER,
            "portable",
            "fp32",
            ("AVX2", "fp32", "portable"),
            "fp32, portable kernels (AVX2; gpu.kernels: fastest",
        ),
        (SERVER, "fastest", "fp32", ("AVX512", "fp32", "fastest"), "fp32, fastest kernels (AVX512)"),
        (SERVER[:4], "portable", "bf16", ("AVX512-BF16", "bf16", "portable"), "bf16, portable kernels (AVX512-BF16)"),
        (SERVER, "portable", "bf16", ("AVX512-BF16", "bf16", "portable"), "bf16, portable kernels (AVX512-BF16; gpu."),
        (SERVER, "fastest", "bf16", ("AMX", "bf16", "fastest"), "bf16, fastest kernels (AMX)"),
        (
            PC,
            "portable",
            "bf16",
            ("AVX2", "fp32", "fastest"),
            f"fp32 in place of bf16, {WITHOUT} AVX512-BF16",
        ),
        (PC, "fastest", "bf16", ("AVX2", "fp32", "fastest"), f"fp32 in place of bf16, {WITHOUT} AVX512-BF16"),
        ((), "portable", "fp32", ("x86_64", "fp32", "fastest"), f"fp32, {WITHOUT} AVX2, so bytes differ"),
    ],
)
def test_a_cpu_computes_natively_and_says_how(
    monkeypatch: pytest.MonkeyPatch,
    features: tuple[str, ...],
    kernels: str,
    precision: Precision,
    used: tuple[str, str, str],
    words: str,
) -> None:
    """A CPU computes as set if it has what that needs, otherwise in fp32 with its fastest kernels, and says so.

    The record names the newest instructions that the kernels use, and so is the same where the bytes are.
    """
    has(monkeypatch, *features)
    hardware = chosen(precision=precision, kernels=kernels)
    assert hardware.why.startswith(f"cpu, {words}")
    found = dict(zip(("processor", "precision", "kernels"), used, strict=True))
    assert hardware.record() == PLAIN.model_dump() | {"device": "cpu"} | found


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
