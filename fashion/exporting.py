"""Networks as ONNX, from stored images to probabilities, and whether they say what the network says."""

import json
from importlib import import_module
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fashion import FashionError
from fashion.data import SIDE
from fashion.description import Pixels
from fashion.images import INFERENCE_BATCH, scaled
from fashion.threads import cores

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# How far logits may be apart, as a share of the greatest one: rounding in fp32 was seen to reach 2e-6 of it.
TOLERANCE = 1e-4


class Whole(nn.Module):
    """A network with what comes before it and after it."""

    def __init__(self, network: nn.Module, pixels: Pixels) -> None:
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (n, 28, 28) -> probabilities and logits, float32 (n, 10)."""
        logits = self.network(scaled(images, self.pixels.black, self.pixels.white))
        return torch.softmax(logits, 1), logits


def onnx_bytes(network: nn.Module, pixels: Pixels, about: dict[str, Any]) -> bytes:
    """A network on the CPU as the content of an ONNX file; the same weights give the same bytes.

    Its input is `images`, uint8 (n, 28, 28) for any n, as the data set stores them; its outputs are `probabilities` and
    `logits`, float32 (n, 10). about: what becomes the file's metadata, as JSON. Raises FashionError where packages are
    missing or torch finds no ONNX for a layer.
    """
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError:
            raise FashionError(
                f"{package} is not installed: .venv/bin/uv pip install --constraint requirements.lock --editable "
                "'.[onnx]' brings it."
            ) from None
    try:
        program = torch.onnx.export(
            Whole(network, pixels).eval(),
            (torch.zeros(2, SIDE, SIDE, dtype=torch.uint8),),
            input_names=["images"],
            output_names=["probabilities", "logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise FashionError(
            f"torch cannot export this network ({str(error.__cause__ or error).splitlines()[0]})."
        ) from None
    # Only torch's older exporter returns nothing.
    exported = cast("torch.onnx.ONNXProgram", program)
    for node in exported.model.graph:
        # The lines of code that it comes from, with this machine's paths.
        node.metadata_props.clear()
    exported.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    return bytes(exported.model_proto.SerializeToString())


def agreement(content: bytes, images: NDArray[np.uint8], reference: NDArray[np.float32]) -> tuple[int, float]:
    """On how many images an ONNX file predicts what the network does, and how far their logits are apart at most.

    images: uint8 (n, 28, 28); reference: the network's logits (n, 10). Raises FashionError where logits are farther
    apart than rounding explains, or another class is predicted than one that is as good as tied for the first.
    """
    probabilities, logits = _outputs(content, images)
    predictions = probabilities.argmax(1)
    same = int((predictions == reference.argmax(1)).sum())
    allowed = TOLERANCE * np.abs(reference).max()
    apart = float(np.abs(logits - reference).max())
    lost = (reference.max(1) - reference[np.arange(len(images)), predictions]).max()
    # Written so that what is no number fails too.
    if not (apart <= allowed and lost <= allowed):
        raise FashionError(
            f"as ONNX the network predicts the same on {same:,} of {len(images):,} test images only, with logits up to "
            f"{apart:.2g} apart, and nothing was written: other versions of torch and onnxruntime may do better."
        )
    return same, apart


def _outputs(content: bytes, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities and logits that onnxruntime computes on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = (images[start : start + INFERENCE_BATCH] for start in range(0, len(images), INFERENCE_BATCH))
    results = [session.run(["probabilities", "logits"], {"images": batch}) for batch in batches]
    probabilities, logits = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return probabilities, logits
