"""The device, and how to compute on it: chosen once, with the reasons."""

import os
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from fashion.environment import Kernels
from fashion.errors import FashionError
from fashion.settings.description import HardwareRecord, Numerics

# The processor features that oneDNN uses for bf16 beyond AVX512-BF16, as torch names them, and their usual names.
FASTER = {"amx_bf16": "AMX", "avx10_2": "AVX10.2"}
# Those that portable kernels may use, the newest first.
PORTABLE = {"avx512_bf16": "AVX512-BF16", "avx512_f": "AVX512", "avx2": "AVX2"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """A device, and how to compute on it.

    processor: a CUDA GPU's name, otherwise the newest instructions of the CPU that its kernels may use. numerics: the
    settings of `gpu` that change results, without `auto`. why: the choices in words.
    """

    device: torch.device
    processor: str
    numerics: Numerics
    why: str

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the layers."""
        return DTYPES[self.numerics.precision]

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def record(self) -> HardwareRecord:
        """The choices that affect results, for the weights' header."""
        return {"device": self.device.type, "processor": self.processor, **self.numerics.model_dump()}  # type: ignore[typeddict-item] # without types in pydantic


def choose(device: str, numerics: Numerics) -> Hardware:
    """Resolve each `auto` of params.yaml's `gpu` for this machine.

    Raises FashionError if the device is missing or does not compute in the precision.
    """
    chosen = _device(device)
    precision, reason = _precision(numerics.precision, chosen)
    processor = _processor(chosen, numerics.kernels)
    lanes = f"{numerics.lanes} lanes"
    if chosen.type == "cpu":
        why = f"cpu ({lanes}), {precision} ({reason}), {_described(numerics.kernels)}"
    else:
        why = f"{chosen} ({processor}, {lanes}), {precision} ({reason})"
    return Hardware(chosen, processor, numerics.model_copy(update={"precision": precision}), why)


def configure(hardware: Hardware) -> None:
    """Set this process's threads and determinism."""
    # Threads that share one operation wait for the slowest of them: a step of a plain loop takes three to four times as
    # long if another program keeps a core busy. fashion/threads.py distributes whole lanes and batches instead.
    torch.set_num_threads(1)
    deterministic = hardware.numerics.deterministic
    if deterministic:
        # cuBLAS needs this before its first call to give the same bits in every run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On Apple's GPUs the gradient of max-pooling has no deterministic form: torch only warns.
    torch.use_deterministic_algorithms(deterministic, warn_only=hardware.device.type == "mps")
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


def _precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The precision, and the reason in words."""
    native = _bf16_is_native(device)
    if wanted == "auto":
        return ("bf16", "native here") if native else ("fp32", "bf16 is not native here")
    if wanted == "fp16" and device.type != "cuda":
        raise FashionError(f"gpu.precision fp16 needs a CUDA device, not {device.type}: set it to auto.")
    return wanted, "as set"


def _processor(device: torch.device, kernels: Kernels) -> str:
    """What of the processor decides how results round: no host's name, so that equal bytes have equal records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    has = torch.cpu.get_capabilities()
    usable = PORTABLE if kernels == "portable" else FASTER | PORTABLE
    return next((name for feature, name in usable.items() if has.get(feature)), str(has["architecture"]))


def _described(kernels: Kernels) -> str:
    """The kernels in words, and whether the processor lacks AVX512-BF16 or has kernels faster than portable ones."""
    has = torch.cpu.get_capabilities()
    if not has.get("avx512_bf16"):
        return f"{kernels} kernels: without AVX512-BF16, so bytes differ from those of processors with it"
    if kernels == "portable" and any(has.get(name) for name in FASTER):
        return "portable kernels; this processor has faster ones, which change the bytes (gpu.kernels: fastest)"
    return f"{kernels} kernels"


def _bf16_is_native(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return any(bool(has.get(name)) for name in ("avx512_bf16", "amx_bf16"))
    return False
