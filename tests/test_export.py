"""python -m tools export: ONNX files that predict the same as the network, or no file."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from fashion.data.reading import read_part
from fashion.errors import FashionError
from fashion.networks import weights
from fashion.networks.building import LAYERS, build
from fashion.networks.inference import logits
from fashion.networks.weights import load
from fashion.settings.description import Layers, Pixels
from fashion.settings.params import Params
from fashion.using import exporting
from fashion.using.exporting import check, onnx_bytes
from tests.conftest import ROOT, Tool

KEYS = list(Params.load(ROOT / "params.yaml").models)
IMAGES = np.random.default_rng(0).integers(0, 256, (203, 28, 28), dtype=np.uint8)
PIXELS = Pixels(black=-0.1, white=1.175)
# Layers that no architecture of params.yaml has, or has in this form.
CONV = {"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}
OTHERS: Layers = {
    "pad": ("ConstantPad2d", {"padding": [1, 1, 0, 2], "value": -0.1}),
    "odd": ("AvgPool2d", {"kernel_size": 4}),
    "leaky": ("LeakyReLU", {}),
    "stage": ("Residual", {"layers": {"norm": "BatchNorm2d", "conv": CONV}, "repeat": 2}),
    "elu": ("ELU", {}),
    "drop": ("Dropout2d", {}),
    "whole": ("Conv2d", {"out_channels": 30, "kernel_size": 7, "padding": [0, 0]}),
    "gelu": ("GELU", {}),
    "silu": ("SiLU", {}),
    "flatten": ("Flatten", {}),
    "sigmoid": ("Sigmoid", {}),
    "logits": ("Linear", {"out_features": 10}),
}


def reference(network: nn.Module, images: Any = IMAGES) -> Any:
    """A network's logits for images."""
    return logits(network, torch.tensor(images), PIXELS.black, PIXELS.white).numpy()


@pytest.mark.parametrize("key", [*KEYS, "others"])
def test_every_architecture_is_exported(params: Params, key: str) -> None:
    """For any number of images the ONNX file gives the network's logits, and probabilities that are their softmax."""
    network = build(params.models[key].layers if key in KEYS else OTHERS, seed=1)
    network.train()
    content = onnx_bytes(network, PIXELS, {})
    for count in (1, 3, 203):
        probabilities, output = outputs(content, IMAGES[:count])
        expected = reference(network, IMAGES[:count])
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(probabilities, torch.tensor(expected).softmax(1), rtol=1e-3, atol=1e-5)


def outputs(content: bytes, images: Any) -> Any:
    """The probabilities and logits of an ONNX file."""
    run = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return run.run(["probabilities", "logits"], {"images": images})


def test_every_layer_is_exported(params: Params) -> None:
    """Every class of layer that a row may name is in one of the networks that are exported above."""
    networks = [build(layers) for layers in (OTHERS, *(row.layers for row in params.models.values()))]
    found = {type(module) for network in networks for module in network.modules()}
    assert {kind for kind, _ in LAYERS.values()} <= found


@pytest.mark.parametrize("path", ["models/lenet5.onnx", "other/net.onnx"])
def test_a_file_predicts_the_same_as_the_weights(inside: Path, tool: Tool, path: str) -> None:
    """A file takes uint8 images, gives the network's probabilities and logits, and names its model and classes."""
    code, output, errors = tool("export", "lenet5", *(["--output", path] if path.startswith("other") else []))
    assert (code, errors) == (0, "")
    assert output.startswith(f"{path}: predicts the network's class for 360 of 360 test images; logits of up")
    assert [str(file.relative_to(inside)) for file in inside.rglob("*.onnx")] == [path]
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(one.name, one.type, one.shape) for one in (*run.get_inputs(), *run.get_outputs())] == [
        ("images", "tensor(uint8)", ["n", 28, 28]),
        ("probabilities", "tensor(float)", ["n", 10]),
        ("logits", "tensor(float)", ["n", 10]),
    ]
    about = run.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in about.items()} == {"model": "lenet5", "classes": [*"0123456789"]}
    network, row, _ = load(inside / "models/lenet5-0.safetensors")
    images = read_part(inside / "data/raw", "test").images
    expected = logits(network, torch.tensor(images), row.architecture.pixels.black, row.architecture.pixels.white)
    np.testing.assert_allclose(outputs(Path(path).read_bytes(), images)[0], expected.softmax(1), atol=1e-5)


def test_the_same_weights_give_the_same_file(params: Params) -> None:
    """The bytes depend only on the weights, and contain no path of this machine."""
    first, again = (onnx_bytes(build(params.models["lenet5"].layers), PIXELS, {}) for _ in range(2))
    assert first == again
    assert str(ROOT).encode() not in first


def test_a_wrong_file_is_not_written(inside: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If onnxruntime predicts other classes, the error says on how many images it agrees, and an older file is kept."""
    (inside / "models/lenet5.onnx").write_text("of yesterday")
    row = load(inside / "models/lenet5-0.safetensors")[1].architecture
    monkeypatch.setattr(exporting, "onnx_bytes", lambda *_: onnx_bytes(build(row.layers, seed=9), row.pixels, {}))
    before = sorted(inside.rglob("*"))
    code, output, errors = tool("export", "lenet5")
    assert (code, output) == (1, "")
    expected = "error: as ONNX the network predicts the same class for only .* of 360 test images, and logits differ by"
    assert re.match(expected, errors)
    assert (inside / "models/lenet5.onnx").read_text() == "of yesterday"
    assert sorted(inside.rglob("*")) == before


CONSTANT: Layers = {"flatten": ("Flatten", {}), "logits": ("Linear", {"out_features": 10})}


@pytest.fixture(scope="module")
def constant() -> bytes:
    """A file whose logits are 1 for every class of every image."""
    network = build(CONSTANT)
    for weight, value in zip(network.parameters(), (0.0, 1.0), strict=True):
        nn.init.constant_(weight, value)
    return onnx_bytes(network, PIXELS, {})


def test_only_rounding_is_allowed(constant: bytes) -> None:
    """Ties within rounding are broken either way; one logit off by a hundredth is refused, whatever it predicts."""
    expected = np.ones((203, 10), np.float32)
    expected[7, 3] += 1e-6
    same, apart = check(constant, IMAGES, expected)
    assert (same, apart) == pytest.approx((202, 1e-6), rel=0.1)
    for value in (1.01, -50.0, np.nan):
        expected[7, 3] = value
        with pytest.raises(FashionError, match=r"predicts the same class for only 20[23] of 203 test images"):
            check(constant, IMAGES, expected)


def test_probabilities_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong probabilities are refused even if the logits are right."""
    network = build(CONSTANT)
    expected = reference(network)
    monkeypatch.setattr(torch, "softmax", lambda output, _: (-output).softmax(1))
    with pytest.raises(FashionError, match="predicts the same class for only 0 of 203"):
        check(onnx_bytes(network, PIXELS, {}), IMAGES, expected)


class Undecided(nn.Module):
    """A layer whose computation depends on its input's values, which torch cannot export."""

    def forward(self, maps: Tensor) -> Tensor:
        """(n, 1, 28, 28) -> (n, 10)."""
        return maps.flatten(1)[:, :10] if maps.sum() > 0 else maps.flatten(1)[:, 10:20]


@pytest.mark.filterwarnings("ignore")  # torch warns before it fails
def test_a_network_that_cannot_be_exported_is_reported() -> None:
    """If torch cannot export a layer, the error gives the reason in one sentence."""
    with pytest.raises(FashionError, match=r"torch cannot export this network \(.*\)\.$") as caught:
        onnx_bytes(Undecided(), PIXELS, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_packages_are_reported(inside: Path, package: str) -> None:
    """Without a package that only this tool needs, the message says how to install it."""
    code = f"import runpy, sys; sys.modules[{package!r}] = None; sys.path[0] = {str(ROOT)!r}; "
    command = [sys.executable, "-c", f"{code}runpy.run_module('tools', run_name='__main__')", "export", "lenet5"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {package} is not installed: make setup installs it.\n"
    assert not (inside / "models/lenet5.onnx").exists()


def test_missing_weights_and_data_are_reported(inside: Path, tool: Tool) -> None:
    """Missing test images, missing weights and weights with NaN are reported in a sentence, and no file is written."""
    assert "models/alexnet-0.safetensors is not here" in tool("export", "alexnet")[2]
    path = inside / "models/lenet5-0.safetensors"
    tensors, header = weights.read(path)
    tensors["conv1.bias"][0] = float("nan")
    path.write_bytes(weights.dumps(tensors, header))
    assert "logits that are NaN or infinite" in tool("export", "lenet5")[2]
    (inside / "data/raw/t10k-images-idx3-ubyte").unlink()
    expected = "error: data/raw/t10k-images-idx3-ubyte is not here: dvc repro download makes it."
    assert tool("export", "lenet5") == (1, "", expected)
    assert not list(inside.rglob("*.onnx"))
