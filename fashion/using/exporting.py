"""Networks as ONNX, from stored images to probabilities, and a check that ONNX predicts the same."""

import json
from typing import Any, cast

import numpy as np
import onnx  # noqa: F401 - torch's exporter needs it
import onnxruntime
import onnxscript  # noqa: F401 - torch's exporter needs it
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fashion.data.datasets import SIDE
from fashion.errors import FashionError
from fashion.networks.inference import INFERENCE_BATCH, scaled
from fashion.settings.description import Pixels
from fashion.threads import cores

# The largest allowed difference of logits, relative to the largest logit. Rounding in fp32 has reached 2e-6 of it.
TOLERANCE = 1e-4


class WithScaling(nn.Module):
    """A network with the scaling before it and the softmax after it."""

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
    `logits`, float32 (n, 10). about: the file's metadata. Raises FashionError if torch has no ONNX for a layer.
    """
    try:
        program = torch.onnx.export(
            WithScaling(network, pixels).eval(),
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
    # Only torch's older exporter returns None.
    exported = cast("torch.onnx.ONNXProgram", program)
    for node in exported.model.graph:
        # They contain the lines of code that a node comes from, with this machine's paths.
        node.metadata_props.clear()
    exported.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    return bytes(exported.model_proto.SerializeToString())


def check(content: bytes, images: NDArray[np.uint8], reference: NDArray[np.float32]) -> tuple[int, float]:
    """The number of images for which an ONNX file predicts the network's class, and the largest difference of logits.

    images: uint8 (n, 28, 28). reference: the network's logits (n, 10). Raises FashionError if logits differ by more
    than rounding explains, or if the file predicts a class whose logit is clearly below the network's largest.
    """
    probabilities, logits = _outputs(content, images)
    predictions = probabilities.argmax(1)
    same = int((predictions == reference.argmax(1)).sum())
    allowed = TOLERANCE * np.abs(reference).max()
    apart = float(np.abs(logits - reference).max())
    lost = (reference.max(1) - reference[np.arange(len(images)), predictions]).max()
    # Written so that NaN fails too.
    if not (apart <= allowed and lost <= allowed):
        raise FashionError(
            f"as ONNX the network predicts the same class for only {same:,} of {len(images):,} test images, and logits "
            f"differ by up to {apart:.2g}; nothing was written: try other versions of torch and onnxruntime."
        )
    return same, apart


def _outputs(content: bytes, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities and logits that onnxruntime computes on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = (images[start : start + INFERENCE_BATCH] for start in range(0, len(images), INFERENCE_BATCH))
    results = [session.run(["probabilities", "logits"], {"images": batch}) for batch in batches]
    probabilities, logits = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return probabilities, logits
