"""The device, and how to compute on it: chosen once, with the reasons."""

import os
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from fashion.environment import PORTABLE, Precision, native
from fashion.errors import FashionError
from fashion.settings.description import HardwareRecord, Numerics

# The newest instructions that a precision's fastest kernels use, as torch names them, and their usual names.
NEWEST = {
    "bf16": {"avx10_2": "AVX10.2", "amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"},
    "fp32": {"avx512_f": "AVX512", "avx2": "AVX2"},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """A device, and how to compute on it.

    processor: a CUDA GPU's name, otherwise the newest instructions of the CPU that its kernels may use. precision: of
    the layers. numerics: the settings of `gpu` that change results. why: the choices in words.
    """

    device: torch.device
    processor: str
    precision: Precision
    numerics: Numerics
    why: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of the layers' values."""
        return DTYPES[self.precision]

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def record(self) -> HardwareRecord:
        """The choices that affect results, for the weights' header."""
        where = {"device": self.device.type, "processor": self.processor, "precision": self.precision}
        return {**where, **self.numerics.model_dump()}  # type: ignore[typeddict-item] # without types in pydantic


def choose(device: str, numerics: Numerics, precision: Precision = "fp32") -> Hardware:
    """The device, and how to compute on it in that precision, or in fp32 if the device lacks it.

    A CPU that lacks what portable kernels need uses its fastest ones. Raises FashionError if the device is missing, or
    cannot compute in fp16.
    """
    chosen = _device(device)
    if precision == "fp16" and chosen.type != "cuda":
        raise FashionError(f"train.precision fp16 needs a CUDA device, not {chosen.type}: set it to fp32 or bf16.")
    if chosen.type == "cpu":
        return _cpu(numerics, precision)
    processor = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else _newest("fp32")
    lacks = precision == "bf16" and not (chosen.type == "cuda" and torch.cuda.get_device_capability(chosen) >= (8, 0))
    used: Precision = "fp32" if lacks else precision
    words = "fp32 in place of bf16, which is not native here" if lacks else precision
    return Hardware(chosen, processor, used, numerics, f"{chosen} ({processor}), {words}")


def _cpu(numerics: Numerics, precision: Precision) -> Hardware:
    """A CPU, and how to compute on it in fp32 or bf16."""
    needed, newest = PORTABLE[precision].name, _newest(precision)
    if not native(precision):
        words = "fp32" if precision == "fp32" else f"fp32 in place of {precision}"
        words += f", fastest kernels: without {needed}, so bytes differ from those of processors with it"
        precision, newest = "fp32", _newest("fp32")
        numerics = numerics.model_copy(update={"kernels": "fastest"})
    elif numerics.kernels == "fastest":
        words = f"{precision}, fastest kernels ({newest})"
    else:
        faster = f"; gpu.kernels: fastest also uses {newest}, which changes the bytes" if newest != needed else ""
        words, newest = f"{precision}, portable kernels ({needed}{faster})", needed
    return Hardware(torch.device("cpu"), newest, precision, numerics, f"cpu, {words}")


def configure(hardware: Hardware) -> None:
    """Set this process's threads and determinism."""
    # Threads that share one operation wait for the slowest of them: a step of a usual loop takes about three times as
    # long if another program keeps a core busy. fashion/threads.py distributes whole lanes and batches instead.
    torch.set_num_threads(1)
    deterministic = hardware.numerics.deterministic
    if deterministic:
        # cuBLAS needs this before its first call to give the same bits in every run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On Apple's GPUs the gradient of max-pooling has no deterministic form: torch only warns.
    warn = hardware.device.type == "mps"
    if hardware.numerics.compile:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn)
    else:
        # The same without loading the compiler, which takes two seconds.
        torch.set_deterministic_debug_mode(("warn" if warn else "error") if deterministic else "default")
    # That mode would also fill memory that is overwritten at once.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a run-time property
    # Otherwise cuDNN convolves fp32 in TF32, which rounds to ten bits.
    torch.backends.cudnn.allow_tf32 = False


def place(network: nn.Sequential, hardware: Hardware) -> nn.Sequential:
    """Move a network to the device, and return a faster network of the same layers.

    A ReLU moves behind a max-pooling that follows it. The greatest value stays the greatest, so values and gradients
    are the same to the bit. With 2x2 pooling the ReLU has a quarter of the work: 7 % of the step of `cnn` on a CPU.
    """
    network.to(hardware.device)
    if hardware.numerics.channels_last:
        network.to(memory_format=torch.channels_last)
    layers = list(network)
    for i, (first, second) in enumerate(pairwise(network)):
        if isinstance(first, nn.ReLU) and isinstance(second, nn.MaxPool2d):
            layers[i : i + 2] = second, first
    placed = nn.Sequential(*layers)
    if hardware.numerics.compile:
        placed.compile()
    return placed


def _device(wanted: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    device = torch.device(wanted)
    if not available[device.type]:
        raise FashionError(f"gpu.device is {wanted}, which this machine or its torch lacks: set it to auto or cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FashionError(f"gpu.device is {wanted}, and there are {torch.cuda.device_count()} GPUs: count from 0.")
    return device


def _newest(precision: Precision) -> str:
    """The newest instructions that this CPU's fastest kernels use: no model, so that equal bytes have equal records."""
    has = torch.cpu.get_capabilities()
    return next((name for feature, name in NEWEST[precision].items() if has.get(feature)), str(has["architecture"]))
