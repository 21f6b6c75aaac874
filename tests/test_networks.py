"""The architectures: exact numbers of parameters, and weights that train; layers are compared with references."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fashion.errors import FashionError
from fashion.networks import weights
from fashion.networks.building import build, check_training, count, plan, summarise
from fashion.networks.costs import flops
from fashion.networks.hardware import choose
from fashion.networks.layers import (
    CodeDistance,
    Conv2d,
    Dropout,
    Dropout2d,
    Linear,
    LocalResponseNorm,
    PartialConv2d,
    ScaledTanh,
    Subsampling,
)
from fashion.networks.weights import load
from fashion.settings.description import Layers
from fashion.settings.params import Params
from tests.conftest import ROOT

KEYS = list(Params.load(ROOT / "params.yaml").models)


@pytest.mark.parametrize("key", [key for key in KEYS if (ROOT / f"metrics/evaluate/{key}-0.json").is_file()])
def test_parameters_never_change(params: Params, key: str) -> None:
    """Each evaluated architecture has the committed number of parameters, without and with batch norm's statistics."""
    scores = json.loads((ROOT / f"metrics/evaluate/{key}-0.json").read_text())
    assert count(build(params.models[key].layers)) == (scores["parameters"], scores["total_parameters"])


DENSE = 784 * 512 + 512 * 256 + 256 * 10
# AlexNet's last three convolutions, on 6x6 maps.
DEEP = 6 * 6 * 9 * (256 * 384 + 384 * 384 + 384 * 256)
CONVOLUTIONS = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9


@pytest.mark.parametrize(
    ("key", "multiply_adds"),
    [
        ("fcnn", DENSE),
        ("cnn", CONVOLUTIONS + 1568 * 512 + 512 * 256 + 256 * 10),
        # Average pooling and local response normalisation are computed as convolutions, and do not count.
        ("lenet5", 24 * 24 * 6 * 25 + 8 * 8 * 16 * 6 * 25 + 120 * 16 * 16 + 120 * 84 + 84 * 10),
        # Separable convolutions: 9 for each channel, then 1x1.
        ("champion_micro", 28 * 28 * 54 + 14 * 14 * (54 + 60) + 7 * 7 * (90 + 140 + 126 + 196) + 140),
        # Connections that are left out count.
        ("lenet5_1998", 28 * 28 * 150 + 10 * 10 * 2400 + 120 * 400 + 120 * 84),
        ("alexnet", 28 * 28 * 96 * 25 + 13 * 13 * 256 * 96 * 25 + DEEP + 1024 * 4096 + 4096 * 10),
    ],
)
def test_operations_are_counted_as_by_hand(params: Params, key: str, multiply_adds: int) -> None:
    """Each multiplication by a weight counts as two operations, and element-wise operations are not counted."""
    assert flops(build(params.models[key].layers)) == 2 * multiply_adds


@pytest.mark.parametrize("key", KEYS)
def test_a_step_reaches_every_weight(params: Params, key: str) -> None:
    """A network returns one logit for each class, and the loss's gradient reaches each weight."""
    network = build(params.models[key].layers)
    output = network(torch.rand(4, 1, 28, 28))
    assert output.shape == (4, 10)
    gradients = torch.autograd.grad(functional.cross_entropy(output, torch.arange(4)), [*network.parameters()])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_read_back_from_a_file(params: Params, tmp_path: Path, key: str) -> None:
    """A network read back gives the same logits, has its description and epoch, and in any memory layout its bytes."""
    written, path = params.describe(key), tmp_path / f"{key}-0.safetensors"
    header = weights.header(written, choose("cpu", written.gpu).record()) | {"epoch": 7}
    network = build(written.architecture.layers, written.architecture.init, seed=1).eval()
    path.write_bytes(weights.dumps(network.state_dict(), header))
    again, description, found = load(path)
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again.eval()(images), network(images))
    assert (description.text, found["epoch"]) == (written.text, 7)
    assert weights.dumps(again.to(memory_format=torch.channels_last).state_dict(), header) == path.read_bytes()


def test_a_file_without_weights_is_reported(tmp_path: Path) -> None:
    """A foreign file is refused in one sentence."""
    (tmp_path / "weights.safetensors").write_bytes(b"PK\3\4" * 20)
    with pytest.raises(FashionError, match="not a weights file"):
        load(tmp_path / "weights.safetensors")


def test_published_weights_are_drawn_as_published(params: Params) -> None:
    """The seed decides; `fan_in_normal` draws linear weights from N(0, 1/sqrt(fan_in)), and zeroes biases, if any."""
    layers = {**params.models["cnn_published"].layers, "logits": ("Linear", {"out_features": 10, "bias": False})}
    network, plain, other = build(layers, "fan_in_normal", seed=3), build(layers, seed=3), build(layers, seed=4)
    for name, fan_in in (("dense1", 1568), ("logits", 256)):
        weight = network.get_parameter(f"{name}.weight")
        assert weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
    assert not network.get_parameter("dense1.bias").any()
    convolution, same, different = (one.get_parameter("conv1.weight") for one in (network, plain, other))
    assert torch.equal(convolution, same)
    assert not torch.equal(convolution, different)


def test_he_normal_weights_are_those_of_the_paper(params: Params) -> None:
    """Weights of convolutions and dense layers are from N(0, sqrt(2/fan_in)), and biases are zero."""
    network = build(params.models["alexnet"].layers, "he_normal", seed=3)
    for name, fan_in in (("conv2", 96 * 5 * 5), ("dense1", 1024)):
        assert network.get_parameter(f"{name}.weight").std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
        assert not network.get_parameter(f"{name}.bias").any()


def test_lenet5_1998_is_the_papers(params: Params) -> None:
    """Its layers have the parameters of section II.B, C3 the connections of table I, and padding is background."""
    row = params.models["lenet5_1998"]
    rows = {layer.name: layer.parameters for layer in summarise(plan(row.layers)) if layer.parameters}
    assert rows == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    words = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
    c3 = build(row.layers).get_submodule("c3")
    assert isinstance(c3, PartialConv2d)
    seen = ["".join(map(str, c3.sources[c3.targets == target].tolist())) for target in range(16)]
    assert " ".join(seen) == words
    assert row.layers["pad"] == ("ConstantPad2d", {"padding": 2, "value": row.pixels.black})


def test_a_partial_convolution_is_the_sum_over_its_connections() -> None:
    """It equals a convolution whose weights are zero where maps are not connected."""
    layer, dense = PartialConv2d(3, kernel_size=2, connections={"first": "01", "rest": "2 012"}), nn.Conv2d(3, 3, 2)
    weight = torch.zeros(3, 3, 2, 2)
    weight[[0, 0, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2]] = layer.weight.detach()
    dense.load_state_dict({"weight": weight, "bias": layer.bias.detach()})
    maps = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(layer(maps), dense(maps))


def test_layers_of_1998_are_as_in_the_paper() -> None:
    """Subsampling pixels 1 to 4 with coefficient 0.5 and bias 1 gives 6; 1.7159 tanh(2a/3) keeps 1 and -1."""
    layer = Subsampling(1, kernel_size=2)
    layer.load_state_dict({"weight": torch.full((1, 1, 1), 0.5), "bias": torch.ones(1, 1, 1)})
    assert layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == 6.0
    assert ScaledTanh()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1.0, -1.0], abs=1e-4)


@pytest.mark.parametrize(
    ("size", "dtype", "tolerance"), [(5, torch.float32, 1e-6), (4, torch.float32, 1e-6), (5, torch.bfloat16, 4e-3)]
)
def test_response_normalisation_equals_torchs(size: int, dtype: torch.dtype, tolerance: float) -> None:
    """Factors and gradients equal torch.nn's in double precision, within the tolerance of the precision."""
    arguments: dict[str, Any] = {"size": size, "alpha": 0.1, "beta": 0.75, "k": 2.0}
    maps = torch.rand(2, 8, 3, 3, generator=torch.Generator().manual_seed(0)) * 10 + 0.1
    given, expected = (maps.detach().to(kind, copy=True).requires_grad_() for kind in (dtype, torch.float64))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        result = LocalResponseNorm(8, **arguments)(given)
    wanted = nn.LocalResponseNorm(**arguments)(expected)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double() / given.double(), wanted / expected, rtol=2 * tolerance, atol=0.0)
    (gradient,), (exact,) = (torch.autograd.grad(y.sum(), x) for y, x in ((result, given), (wanted, expected)))
    torch.testing.assert_close(gradient.double(), exact, rtol=20 * tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"bias": False}, {"stride": 2}, {"padding": 1}, {"groups": 4}, {"kernel_size": 3, "padding": "same"}],
)
def test_a_convolution_of_the_whole_input_equals_torchs(arguments: dict[str, Any]) -> None:
    """Values and gradients equal torch.nn's, whether or not the kernel covers its input and the fast path is used."""
    everything = {"in_channels": 8, "out_channels": 12, "kernel_size": 4, **arguments}
    assert_same(nn.Conv2d(**everything), Conv2d(**everything), torch.rand(2, 8, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "shape", "by_onednn"),
    [
        ({}, (16, 30), True),
        ({"bias": False}, (1, 30), True),
        ({}, (2, 16, 30), False),
        ({"dtype": torch.float64}, (16, 30), False),
    ],
)
def test_a_dense_layer_equals_torchs(arguments: dict[str, Any], shape: tuple[int, ...], by_onednn: bool) -> None:
    """Values and gradients equal torch.nn's; in fp32 oneDNN multiplies matrices, and autocast uses torch's own."""
    values = torch.rand(shape, dtype=arguments.get("dtype"))
    plain, layer = nn.Linear(30, 7, **arguments), Linear(30, 7, **arguments)
    with torch.profiler.profile() as profile:
        assert_same(plain, layer, values)
    # Not every build of torch has oneDNN.
    by_onednn &= torch.backends.mkldnn.is_available()
    assert ("mkldnn::_linear_pointwise" in {event.name for event in profile.events() or []}) == by_onednn
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(values), plain(values))


def assert_same(reference: nn.Module, layer: nn.Module, maps: torch.Tensor) -> None:
    """Check that two layers with the same weights have equal outputs and gradients."""
    layer.load_state_dict(reference.state_dict())
    results = []
    for module in (reference, layer):
        given = maps.clone().requires_grad_()
        output = module(given)
        output.square().sum().backward()
        results.append([output, given.grad, *(weight.grad for weight in module.parameters())])
    torch.testing.assert_close(results[0], results[1])


def layer(kind: str, **arguments: Any) -> Layers:
    """A network of one layer, called a."""
    return {"a": (kind, arguments)}


FLAT = layer("Flatten")
LOGITS = ("Linear", {"out_features": 10})


def residual(repeat: int, **layers: Any) -> nn.Module:
    """A stage of residual blocks."""
    network = build(layer("Residual", layers=layers, repeat=repeat) | {"b": ("Flatten", {}), "c": LOGITS})
    return network.get_submodule("a")


def test_a_residual_block_adds_its_input() -> None:
    """Each repetition returns its layers' result plus its input, after a 1x1 convolution if the shapes differ."""
    conv = {"out_channels": 8, "kernel_size": 3, "padding": 1}
    stage = residual(2, norm1="BatchNorm2d", relu1="ReLU", conv1={"Conv2d": conv | {"stride": 2}})
    state = stage.state_dict()
    maps = given = torch.rand(4, 1, 28, 28)
    for number in (0, 1):
        weight, bias, kernel, offset = (
            state[f"bodies.{number}.{name}"] for name in ("norm1.weight", "norm1.bias", "conv1.weight", "conv1.bias")
        )
        normal = functional.batch_norm(maps, None, None, weight, bias, training=True)
        body = functional.conv2d(normal.relu(), kernel, offset, stride=2, padding=1)
        maps = body + functional.conv2d(maps, state[f"shortcuts.{number}.weight"], stride=2)
    assert maps.shape == (4, 8, 7, 7)
    torch.testing.assert_close(stage(given), maps)
    # If the shapes are the same, the shortcut has no weights.
    assert count(residual(3, conv1={"Conv2d": conv | {"out_channels": 1}})) == (3 * 10, 3 * 10)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("kind", [Dropout, Dropout2d])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_its_share(p: float, kind: type[Dropout], memory_format: torch.memory_format) -> None:
    """Each value, or map, is dropped with probability p, others are scaled by 1/(1-p), and so are the gradients."""
    torch.manual_seed(0)
    values = torch.ones(50, 200, 4, 3).to(memory_format=memory_format).requires_grad_()
    result = kind(p)(values)
    kept = result != 0
    assert torch.equal(result, kept / torch.tensor(1 - p))
    assert torch.equal(torch.autograd.grad(result.sum(), values)[0], result)
    if kind is Dropout2d:
        assert torch.equal(kept.all((2, 3)), kept.any((2, 3)))
        kept = kept[..., 0, 0]
    # Five standard deviations of the share of all, and of that in each image.
    for part in (kept, *kept):
        assert part.float().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / part.numel()) ** 0.5)


def test_dropout_draws_a_new_mask_each_time() -> None:
    """Masks differ, the same seed gives the same one, neighbours are independent, and evaluation drops nothing."""
    layer, values = Dropout(0.5), torch.ones(1000, 40)
    torch.manual_seed(1)
    first, second = layer(values), layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)
    kept = (first != 0).float().flatten()
    for step in (1, 2, 3, 4):
        assert (kept[step:] * kept[:-step]).mean().item() == pytest.approx(0.25, abs=0.015)
    assert torch.equal(layer.eval()(values), values)


def test_codes_are_far_apart_and_the_nearest_wins() -> None:
    """Any two codes differ in 40 places or more of 84, and features equal to a code are at distance 0 from it."""
    layer = CodeDistance(84, classes=10)
    output = layer(layer.codes)
    assert torch.equal(output.argmax(1), torch.arange(10))
    assert torch.equal(output.diagonal(), torch.zeros(10))
    different = -output / 4  # a place that differs adds 2 squared
    assert different[~torch.eye(10, dtype=torch.bool)].min() >= 40


SMALL = {"out_channels": 4, "kernel_size": 3}
NORM = ("LocalResponseNorm", {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0})


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (layer("Conv3d"), "layers.a: there is no layer 'Conv3d': did you mean Conv2d?"),
        (layer("Conv2d", kernel_size=3), "layers.a: Conv2d needs the argument 'out_channels'."),
        (layer("Conv2d", **SMALL, bias="no"), "layers.a.bias is 'no': it must be a valid boolean."),
        (layer("Conv2d", out_channels=4, kernel_size=[3] * 3), "kernel_size is [3, 3, 3]: it must be a valid integer."),
        (layer("Flatten", end_dim=1.0), "layers.a.end_dim is 1.0: it must be a valid integer."),
        (layer("ELU", alpha=True), "layers.a.alpha is True: it must be a valid number."),
        (layer("ELU", alpha=math.inf), "layers.a.alpha is inf: it must be a finite number."),
        (layer("ReLU", inplace=True), "layers.a: ReLU takes no arguments, and 'inplace' is one."),
        (layer("LeakyReLU", inplace=True), "layers.a: LeakyReLU has no argument 'inplace'"),
        (layer("Conv2d", outchannels=3), "layers.a: Conv2d has no argument 'outchannels': did you mean out_channels?"),
        (layer("Linear", out_features=3, device="cpu"), "layers.a: Linear has no argument 'device'"),
        (layer("Subsampling", kernel_size=0), "layers.a.kernel_size is 0: it must be greater than or equal to 1."),
        (layer("Conv2d", **SMALL, stride=0), "layers.a: Conv2d does not"),
        (layer("MaxPool2d", kernel_size=2, return_indices=True), "layers.a: MaxPool2d does not fit"),
        (layer("Flatten", start_dim=0), "layers.a: Flatten has no argument 'start_dim': known: end_dim."),
        ({"train": ("Flatten", {})}, "layers.train: torch itself uses this name"),
        ({"training": ("Flatten", {})}, "layers.training: torch itself uses this name"),
        ({"_modules": ("Flatten", {})}, "layers._modules: torch itself uses this name"),
        (layer("Conv2d", out_channels=4, kernel_size=29), "layers.a: Conv2d does not fit its input"),
        (FLAT | {"b": ("MaxPool2d", {"kernel_size": 2})}, "layers.b: MaxPool2d does not fit its input"),
        (FLAT, "layers.a has output shape (784,); the last must give 10 values."),
        (layer("Linear", out_features=-1), "layers.a: Linear does not take"),
        (layer("Linear", out_features=0), "layers.a: Linear does not take"),
        (layer("Dropout", p=2), "layers.a.p is 2: it must be less than or equal to 0.99."),
        (layer("Dropout", p=0.999995), "layers.a.p is 0.999995: it must be less than or equal to 0.99."),
        (FLAT | {"b": ("Dropout2d", {})}, "layers.b: Dropout2d does not fit its input (784,)"),
        (layer("PartialConv2d", kernel_size=3, connections={"x": "7"}), "there are 1, counted from 0"),
        (layer("PartialConv2d", kernel_size=3, connections={"x": "00"}), "connections name an input map twice"),
        (layer("PartialConv2d", kernel_size=3, connections={"x": "\u0660"}), "is '\u0660': String should match"),
        (layer("PartialConv2d", kernel_size=3, connections={}), "layers.a.connections is {}: "),
        (layer("Residual"), "layers.a: Residual needs the argument 'layers'."),
        (layer("Residual", layer={}), "layers.a: Residual has no argument 'layer': did you mean layers?"),
        (layer("Residual", layers={"b": "ReLU"}, repeat=0), "layers.a.repeat is 0: it must be greater than"),
        (layer("Residual", layers={"b": "ReLU"}, repeat=10**9), "more than 1,000 layers, repeated ones included."),
        (layer("Residual", layers={"A.b": "ReLU"}), "layers.a.layers.A.b is 'A.b': String should match"),
        (layer("Residual", layers={"b": "Conv2"}), "layers.a.layers.b: there is no layer 'Conv2'"),
        (layer("Residual", layers={"b": "Flatten"}), "layers.a: its layers turn (1, 28, 28) into (784,)"),
        (
            FLAT | {"b": ("Linear", {"out_features": 10**15}), "c": LOGITS},
            "layers.b: Linear has 785,000,000,000,000,000 weights and buffers: at most 1,000,000,000 fit.",
        ),
        (
            FLAT | {"b": ("CodeDistance", {"classes": 10**9})},
            "layers.b: CodeDistance has 784,000,000,000 weights and buffers: at most 1,000,000,000 fit.",
        ),
        (
            layer("Conv2d", out_channels=10**6, kernel_size=1) | {"b": NORM, "c": ("Flatten", {}), "d": LOGITS},
            "layers.b: LocalResponseNorm has 1,000,000,000,000 weights and buffers: at most 1,000,000,000 fit.",
        ),
        (
            FLAT | {"b": ("Linear", {"out_features": 10**6}), "c": ("Linear", {"out_features": 300}), "d": LOGITS},
            "layers: the network has 1,085,003,310 weights and buffers: at most 1,000,000,000 fit.",
        ),
        (
            layer("Conv2d", out_channels=10**7, kernel_size=1),
            "layers.a: Conv2d does not fit its input (1, 28, 28): its output would have 7,840,000,000 values",
        ),
        (FLAT | {"b": LOGITS, "c": ("BatchNorm1d", {})}, "layers.c: BatchNorm1d cannot train on one image at a time: "),
        (FLAT | {"b": ("CodeDistance", {"classes": 10})}, "layers: no layer has weights"),
    ],
    ids=str,
)
def test_impossible_layers_are_reported(layers: Layers, expected: str) -> None:
    """A layer that is unknown, does not fit or cannot train is reported, with what is wrong, in one sentence."""
    with pytest.raises(FashionError) as caught:
        check_training(plan(layers), images=1)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_any_allowed_size_is_checked_without_memory() -> None:
    """The parameters of a network of gigabytes can be counted."""
    network = plan(FLAT | {"b": ("Linear", {"out_features": 10**6}), "c": LOGITS})
    assert count(network)[0] == (784 + 1) * 10**6 + (10**6 + 1) * 10
