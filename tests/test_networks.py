"""The architectures: exact numbers of parameters, and weights that train; layers are compared with references."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fashion.errors import FashionError
from fashion.networks import weights
from fashion.networks.building import build, check_training, count, summarise
from fashion.networks.layers import (
    AvgPool2d,
    CodeDistance,
    Conv2d,
    Dropout,
    Dropout2d,
    LocalResponseNorm,
    PartialConv2d,
    ScaledTanh,
    Subsampling,
)
from fashion.networks.weights import load
from fashion.settings.description import Description
from fashion.settings.params import Params
from tests.conftest import ROOT

KEYS = list(Params.load(ROOT / "params.yaml").models)
PARAMETERS = {
    "lenet5": (44_426, 44_426),
    "alexnet": (7_954_122, 7_954_122),
    "conv1_pool1": (607_818, 607_818),
    "conv2_pool1": (644_746, 644_746),
    "conv2_pool2": (857_738, 857_738),
    "conv3_pool2": (894_666, 894_666),
    "conv3_pool2_bn": (894_796, 894_926),
    "conv4_pool2_bn": (484_172, 484_302),
    "fcnn": (535_818, 535_818),
    "cnn": (942_026, 942_026),
    "fcnn_published": (535_818, 535_818),
    "cnn_published": (942_026, 942_026),
    "convnet": (1_413_834, 1_413_834),
    "lenet5_1998": (60_000, 60_000),
    "wide_dense": (29_306_282, 29_306_282),
    "champion": (1_940_970, 1_943_722),
    "champion_20_epochs": (1_940_970, 1_943_722),
    "champion_5_epochs": (1_940_970, 1_943_722),
    "champion_small": (95_722, 96_298),
    "champion_tiny": (8_178, 8_594),
    "champion_micro": (958, 1_046),
}
SPLITS = {
    "holdout_5k": [*(key for key in PARAMETERS if key.startswith("champion")), "convnet", "lenet5_1998"],
    "holdout_6k": ["alexnet", "lenet5"],
    "subset_20k": ["wide_dense"],
}


@pytest.mark.parametrize("key", PARAMETERS)
def test_parameters_never_change(params: Params, key: str) -> None:
    """Each architecture has exactly the recorded number of parameters, without and with batch norm's statistics."""
    assert count(build(params.models[key].layers)) == PARAMETERS[key]


@pytest.mark.parametrize("key", PARAMETERS)
def test_splits_are_as_recorded(params: Params, key: str) -> None:
    """Each architecture trains on the recorded split: 48,000 images unless listed."""
    recorded = next((split for split, keys in SPLITS.items() if key in keys), "holdout_12k")
    assert params.models[key].split == recorded


@pytest.mark.parametrize("key", KEYS)
def test_a_step_reaches_every_weight(params: Params, key: str) -> None:
    """A network returns one logit for each class, and the loss's gradient reaches each weight."""
    network = build(params.models[key].layers)
    output = network(torch.rand(4, 1, 28, 28))
    assert output.shape == (4, 10)
    functional.cross_entropy(output, torch.arange(4)).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_read_back_from_a_file(params: Params, tmp_path: Path, key: str) -> None:
    """A network read back from its file gives the same logits, and has its description and epoch."""
    row = params.models[key]
    network = build(row.layers, row.init, seed=1).eval()
    path = tmp_path / "weights.safetensors"
    written = params.describe(key)
    path.write_bytes(weights.dumps(network.state_dict(), described(written)))
    again, description, header = load(path)
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again.eval()(images), network(images))
    assert description.text == written.text
    assert header["epoch"] == 7


def described(description: Description) -> dict[str, Any]:
    """A header with that description."""
    return weights.header(description, {}) | {"epoch": 7}


def test_the_same_weights_give_the_same_file(params: Params) -> None:
    """The bytes of a file depend only on its content, not on the memory layout."""
    network = build(params.models["lenet5"].layers)
    plain = weights.dumps(network.state_dict(), {"b": 1, "a": 2})
    network.to(memory_format=torch.channels_last)
    assert weights.dumps(network.state_dict(), {"b": 1, "a": 2}) == plain


@pytest.mark.parametrize(("content", "expected"), [(None, "is not here"), (b"PK\3\4" * 20, "not a weights file")])
def test_a_file_without_weights_is_reported(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """A missing or foreign file is refused in one sentence."""
    path = tmp_path / "weights.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(FashionError, match=expected):
        load(path)


def test_weights_of_another_shape_are_refused(params: Params, tmp_path: Path) -> None:
    """A file whose tensors do not match its own description is refused."""
    path = tmp_path / "weights.safetensors"
    state = build(params.models["lenet5"].layers).state_dict()
    path.write_bytes(weights.dumps(state, described(params.describe("fcnn"))))
    with pytest.raises(FashionError, match="contradicts its own description"):
        load(path)


@pytest.mark.parametrize("key", ["fcnn", "cnn"])
def test_published_recipes_train_the_same_layers(params: Params, key: str) -> None:
    """A row with the published recipe has the same layers as the row with our recipe."""
    assert params.models[f"{key}_published"].layers == params.models[key].layers


@pytest.mark.parametrize("key", ["fcnn_published", "cnn_published"])
def test_published_recipes_are_as_published(params: Params, key: str) -> None:
    """The published recipe is batches of 20, Adam at a constant 0.001, 50 epochs, no augmentation, pixels in 0..1."""
    assert params.models[key].train.model_dump() == {
        "epochs": 50,
        "batch_size": 20,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "label_smoothing": 0.0,
        "augment": {"flip": False, "shift": 0, "erase": 0},
    }
    assert params.models[key].pixels.model_dump() == {"black": 0.0, "white": 1.0}


def test_published_weights_are_drawn_as_published(params: Params) -> None:
    """`fan_in_normal` draws linear weights from N(0, 1/sqrt(fan_in)), zeroes their biases, and keeps convolutions."""
    row = params.models["cnn_published"]
    network, plain = build(row.layers, row.init, seed=3), build(row.layers, seed=3)
    dense = network.get_submodule("dense1")
    assert isinstance(dense, nn.Linear)
    assert dense.weight.std().item() == pytest.approx(dense.in_features**-0.5, rel=0.01)
    assert not dense.bias.any()
    assert torch.equal(network.state_dict()["conv1.weight"], plain.state_dict()["conv1.weight"])


def test_the_seed_determines_the_weights(params: Params) -> None:
    """The same seed gives the same weights, and another seed gives others."""
    layers = params.models["lenet5"].layers
    one, same, other = (build(layers, seed=seed).state_dict()["conv1.weight"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_lenet5_1998_has_the_papers_parameters(params: Params) -> None:
    """Every layer has the number of trainable parameters that section II.B states."""
    rows = {row.name: row.parameters for row in summarise(params.models["lenet5_1998"].layers) if row.parameters}
    assert rows == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}


def test_lenet5_1998_has_the_connections_of_the_papers_table(params: Params) -> None:
    """Each map of C3 is connected to the maps of S2 that table I marks."""
    _, arguments = params.models["lenet5_1998"].layers["c3"]
    layer = PartialConv2d(6, **arguments)
    seen = [set(layer.sources[layer.targets == target].tolist()) for target in range(16)]
    assert seen == [
        *({0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {0, 4, 5}, {0, 1, 5}),
        *({0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}, {0, 3, 4, 5}, {0, 1, 4, 5}, {0, 1, 2, 5}),
        *({0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 2, 3, 4, 5}),
    ]


def test_lenet5_1998_pads_with_background(params: Params) -> None:
    """The padding has the value of background pixels."""
    row = params.models["lenet5_1998"]
    assert row.layers["pad"] == ("ConstantPad2d", {"padding": 2, "value": row.pixels.black})


def test_a_partial_convolution_is_the_sum_over_its_connections() -> None:
    """Each output map is the bias plus a single-map convolution for each connected input map."""
    layer = PartialConv2d(3, kernel_size=2, connections={"first": "01", "rest": "2 012"})
    maps = torch.rand(2, 3, 5, 5)
    single = [
        functional.conv2d(maps[:, source : source + 1], layer.weight[pair][None, None])
        for pair, source in enumerate([0, 1, 2, 0, 1, 2])
    ]
    expected = torch.cat([single[0] + single[1], single[2], single[3] + single[4] + single[5]], 1)
    assert torch.allclose(layer(maps), expected + layer.bias[:, None, None], atol=1e-6)


def test_subsampling_scales_the_sum_of_each_block() -> None:
    """Four pixels of 1, 2, 3 and 4 with coefficient 0.5 and bias 1 give 6."""
    layer = Subsampling(1, kernel_size=2)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.fill_(1.0)
    assert layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == 6.0


@pytest.mark.parametrize(
    ("size", "dtype", "tolerance"), [(5, torch.float32, 1e-6), (4, torch.float32, 1e-6), (5, torch.bfloat16, 4e-3)]
)
def test_response_normalisation_equals_torchs(size: int, dtype: torch.dtype, tolerance: float) -> None:
    """Factors and gradients equal torch.nn's in double precision, within the tolerance of the precision."""
    arguments: dict[str, Any] = {"size": size, "alpha": 0.1, "beta": 0.75, "k": 2.0}
    reference, layer = nn.LocalResponseNorm(**arguments), LocalResponseNorm(8, **arguments)
    maps = torch.rand(2, 8, 3, 3, generator=torch.Generator().manual_seed(0)) * 10 + 0.1
    given, expected = (maps.detach().to(kind, copy=True).requires_grad_() for kind in (dtype, torch.float64))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        result = layer(given)
    wanted = reference(expected)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double() / given.double(), wanted / expected, rtol=2 * tolerance, atol=0.0)
    result.sum().backward()
    wanted.sum().backward()
    assert given.grad is not None
    assert expected.grad is not None
    torch.testing.assert_close(given.grad.double(), expected.grad, rtol=20 * tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"bias": False}, {"stride": 2}, {"padding": 1}, {"groups": 4}, {"kernel_size": 3, "padding": "same"}],
    ids=str,
)
def test_a_convolution_of_the_whole_input_equals_torchs(arguments: dict[str, Any]) -> None:
    """Values and gradients equal torch.nn's, whether or not the kernel covers its input and the fast path is used."""
    everything = {"in_channels": 8, "out_channels": 12, "kernel_size": 4, **arguments}
    assert_same(nn.Conv2d(**everything), Conv2d(**everything), (2, 8, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"kernel_size": 2}, (2, 6, 10, 8)),
        ({"kernel_size": 3}, (2, 1, 6, 6)),
        ({"kernel_size": 2}, (2, 6, 9, 9)),
        ({"kernel_size": 3, "stride": 2}, (2, 6, 9, 9)),
        ({"kernel_size": 3, "padding": 1}, (2, 6, 9, 9)),
        ({"kernel_size": 2, "divisor_override": 1}, (2, 6, 8, 8)),
        ({"kernel_size": [2, 1]}, (2, 6, 8, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_average_pooling_equals_torchs(
    arguments: dict[str, Any], shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    """Values and gradients equal torch.nn's, whether or not blocks fill the maps and the fast path is used."""
    assert_same(nn.AvgPool2d(**arguments), AvgPool2d(**arguments), shape, memory_format)


@pytest.mark.parametrize("size", [2, 3, 5, 7, 14])
def test_average_pooling_in_bf16_has_no_bias(size: int) -> None:
    """Rounding errors cancel over many maps, although 1/9 and 1/49 are not exact in bf16."""
    maps = torch.rand(2000, 8, size, size, generator=torch.Generator().manual_seed(0)).bfloat16()
    means = AvgPool2d(size)(maps)
    assert (means.double().mean() / maps.double().mean()).item() == pytest.approx(1, abs=2e-4)


def assert_same(
    reference: nn.Module,
    layer: nn.Module,
    shape: tuple[int, ...],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> None:
    """Check that two layers with the same weights have equal outputs and gradients."""
    layer.load_state_dict(reference.state_dict())
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    results = []
    for module in (reference, layer):
        given = maps.clone().requires_grad_()
        output = module(given)
        output.square().sum().backward()
        results.append([output, given.grad, *(weight.grad for weight in module.parameters())])
    torch.testing.assert_close(results[0], results[1])


BODY = {
    "norm1": "BatchNorm2d",
    "relu1": "ReLU",
    "conv1": {"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1, "stride": 2}},
}
LOGITS = ("Linear", {"out_features": 10})
CODES = ("CodeDistance", {"classes": 10})
NORM = ("LocalResponseNorm", {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0})


HEAD: dict[str, tuple[str, dict[str, Any]]] = {"flatten": ("Flatten", {}), "logits": ("Linear", {"out_features": 10})}


def test_a_residual_block_adds_its_input() -> None:
    """Each repetition returns its layers' result plus its input, after a 1x1 convolution if the shapes differ."""
    network = build({"stage": ("Residual", {"layers": BODY, "repeat": 2}), **HEAD})
    stage = network.get_submodule("stage")
    state = stage.state_dict()
    maps = given = torch.rand(4, 1, 28, 28)
    for number in ("0", "1"):
        weights, shortcut = (
            {
                name.removeprefix(f"{group}.{number}."): tensor
                for name, tensor in state.items()
                if name.startswith(f"{group}.{number}.")
            }
            for group in ("bodies", "shortcuts")
        )
        normal = functional.batch_norm(maps, None, None, weights["norm1.weight"], weights["norm1.bias"], training=True)
        body = functional.conv2d(normal.relu(), weights["conv1.weight"], weights["conv1.bias"], stride=2, padding=1)
        maps = body + functional.conv2d(maps, shortcut["weight"], stride=2)
    assert maps.shape == (4, 8, 7, 7)
    torch.testing.assert_close(stage(given), maps)


def test_a_residual_block_that_keeps_its_shape_has_no_shortcut_weights() -> None:
    """If input and output have the same shape, the shortcut has no weights."""
    same_shape = {"conv1": {"Conv2d": {"out_channels": 1, "kernel_size": 3, "padding": 1}}}
    network = build({"stage": ("Residual", {"layers": same_shape, "repeat": 3}), **HEAD})
    assert count(network.get_submodule("stage")) == (3 * 10, 3 * 10)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_its_share(p: float, memory_format: torch.memory_format) -> None:
    """Each value is dropped with probability p, the others are scaled by 1/(1-p), and so are the gradients."""
    torch.manual_seed(0)
    values = torch.ones(50, 20, 10, 10).to(memory_format=memory_format).requires_grad_()
    result = Dropout(p)(values)
    result.sum().backward()
    kept = result != 0
    assert torch.equal(result.detach(), kept / torch.tensor(1 - p))
    assert values.grad is not None
    assert torch.equal(values.grad, result.detach())
    # Five standard deviations of a share of 100,000, and of 2,000 in each image.
    for share, values_in in [(kept.float().mean(), 100_000), *((image.float().mean(), 2_000) for image in kept)]:
        assert share.item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / values_in) ** 0.5)


def test_dropout_of_maps_drops_whole_maps() -> None:
    """Each map is dropped as a whole with probability p, the others are scaled by 1/(1-p), and maps are independent."""
    torch.manual_seed(0)
    result = Dropout2d(0.25)(torch.ones(100, 50, 3, 3))
    kept = result[:, :, 0, 0] != 0
    assert torch.equal(result, (kept / torch.tensor(0.75))[:, :, None, None].expand_as(result))
    # Five standard deviations of a share of 5,000.
    assert kept.float().mean().item() == pytest.approx(0.75, abs=5 * (0.25 * 0.75 / 5000) ** 0.5)


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


def test_the_squashing_function_keeps_plus_and_minus_one() -> None:
    """1.7159 tanh(2a/3) maps 1 to 1 and -1 to -1, which is why the paper chose its constants."""
    assert ScaledTanh()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1.0, -1.0], abs=1e-4)


def test_codes_are_far_apart_and_the_nearest_wins() -> None:
    """Any two codes differ in 40 places or more of 84, and features equal to a code are at distance 0 from it."""
    layer = CodeDistance(84, classes=10)
    output = layer(layer.codes)
    assert torch.equal(output.argmax(1), torch.arange(10))
    assert torch.equal(output.diagonal(), torch.zeros(10))
    different = -output / 4  # a place that differs adds 2 squared
    assert different[~torch.eye(10, dtype=torch.bool)].min() >= 40


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({"a": ("Conv3d", {})}, "layers.a: there is no layer 'Conv3d': did you mean Conv2d?"),
        ({"a": ("Conv2d", {"kernel_size": 3})}, "layers.a: Conv2d needs the argument 'out_channels'."),
        (
            {"a": ("Conv2d", {"out_channels": 4, "kernel_size": 3, "bias": "no"})},
            "layers.a.bias is 'no': it must be a valid boolean.",
        ),
        (
            {"a": ("Conv2d", {"out_channels": 4, "kernel_size": [3, 3, 3]})},
            "layers.a.kernel_size is [3, 3, 3]: it must be a valid integer.",
        ),
        ({"a": ("Flatten", {"start_dim": 1.0})}, "layers.a.start_dim is 1.0: it must be a valid integer."),
        ({"a": ("ELU", {"alpha": True})}, "layers.a.alpha is True: it must be a valid number."),
        ({"a": ("ELU", {"alpha": math.inf})}, "layers.a.alpha is inf: it must be a finite number."),
        ({"a": ("ReLU", {"inplace": True})}, "layers.a: ReLU takes no arguments, and 'inplace' is one."),
        ({"a": ("LeakyReLU", {"inplace": True})}, "layers.a: LeakyReLU has no argument 'inplace'"),
        (
            {"a": ("Conv2d", {"outchannels": 3})},
            "layers.a: Conv2d has no argument 'outchannels': did you mean out_channels?",
        ),
        ({"a": ("Linear", {"out_features": 3, "device": "cpu"})}, "layers.a: Linear has no argument 'device'"),
        (
            {"a": ("Subsampling", {"kernel_size": 0})},
            "layers.a.kernel_size is 0: it must be greater than or equal to 1.",
        ),
        ({"a": ("Conv2d", {"out_channels": 4, "kernel_size": 3, "stride": 0})}, "layers.a: Conv2d does not"),
        ({"a": ("MaxPool2d", {"kernel_size": 2, "return_indices": True})}, "layers.a: MaxPool2d does not fit"),
        ({"a": ("Flatten", {"start_dim": 0})}, "layers.a: Flatten does not fit"),
        ({"train": ("Flatten", {})}, "layers.train: torch itself uses this name"),
        ({"training": ("Flatten", {})}, "layers.training: torch itself uses this name"),
        ({"_modules": ("Flatten", {})}, "layers._modules: torch itself uses this name"),
        (
            {"a": ("Conv2d", {"out_channels": 4, "kernel_size": 29})},
            "layers.a: Conv2d does not fit its input",
        ),
        (
            {"a": ("Flatten", {}), "b": ("MaxPool2d", {"kernel_size": 2})},
            "layers.b: MaxPool2d does not fit its input",
        ),
        ({"a": ("Flatten", {})}, "layers.a has output shape (784,); the last must give 10 values."),
        ({"a": ("Linear", {"out_features": -1})}, "layers.a: Linear does not take"),
        ({"a": ("Linear", {"out_features": 0})}, "layers.a: Linear does not take"),
        ({"a": ("Dropout", {"p": 2})}, "layers.a.p is 2: it must be less than or equal to 0.99."),
        ({"a": ("Dropout", {"p": 0.999995})}, "layers.a.p is 0.999995: it must be less than or equal to 0.99."),
        ({"a": ("Flatten", {}), "b": ("Dropout2d", {})}, "layers.b: Dropout2d does not fit its input (784,)"),
        (
            {"a": ("PartialConv2d", {"kernel_size": 3, "connections": {"x": "7"}})},
            "there are 1, counted from 0",
        ),
        (
            {"a": ("PartialConv2d", {"kernel_size": 3, "connections": {"x": "00"}})},
            "connections name an input map twice",
        ),
        (
            {"a": ("PartialConv2d", {"kernel_size": 3, "connections": {"x": "\u0660"}})},
            "layers.a.connections is '\u0660': String should match",
        ),
        ({"a": ("PartialConv2d", {"kernel_size": 3, "connections": {}})}, "layers.a.connections is {}: "),
        ({"a": ("Residual", {})}, "layers.a: Residual needs the argument 'layers'."),
        ({"a": ("Residual", {"layer": BODY})}, "layers.a: Residual has no argument 'layer': did you mean layers?"),
        ({"a": ("Residual", {"layers": BODY, "repeat": 0})}, "layers.a.repeat is 0: it must be greater than"),
        (
            {"a": ("Residual", {"layers": BODY, "repeat": 10**9})},
            "the network has more than 1,000 layers, repeated ones included.",
        ),
        (
            {"a": ("Flatten", {}), "b": ("Linear", {"out_features": 10**15}), "c": ("Linear", {"out_features": 10})},
            "layers.b: Linear does not fit its input (784,): its output would have 1,000,000,000,000,000 values",
        ),
        (
            {"a": ("Flatten", {}), "b": ("CodeDistance", {"classes": 10**9})},
            "layers: the network has 784,000,000,000 weights and buffers: at most 1,000,000,000 fit.",
        ),
        (
            {"a": ("Conv2d", {"out_channels": 10**6, "kernel_size": 1}), "b": NORM, "c": ("Flatten", {}), "d": LOGITS},
            "layers: the network has 1,007,842,000,010 weights and buffers: at most 1,000,000,000 fit.",
        ),
        ({"a": ("Residual", {"layers": {"A.b": "ReLU"}})}, "layers.a.layers.A.b is 'A.b': String should match"),
        ({"a": ("Residual", {"layers": {"b": "Conv2"}})}, "layers.a.layers.b: there is no layer 'Conv2'"),
        ({"a": ("Residual", {"layers": {"b": "Flatten"}})}, "layers.a: its layers turn (1, 28, 28) into (784,)"),
    ],
)
def test_impossible_layers_are_reported(layers: dict[str, tuple[str, dict[str, object]]], expected: str) -> None:
    """A layer that is unknown or does not fit is reported, with what is wrong, in one sentence."""
    with torch.device("meta"), pytest.raises(FashionError) as caught:
        build(layers)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_any_allowed_size_is_checked_without_memory() -> None:
    """On the meta device the parameters of a network of gigabytes can be counted."""
    with torch.device("meta"):
        network = build({"flatten": ("Flatten", {}), "a": ("Linear", {"out_features": 10**6}), "b": LOGITS})
    assert count(network)[0] == (784 + 1) * 10**6 + (10**6 + 1) * 10


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            {"a": ("Flatten", {}), "b": LOGITS, "c": ("BatchNorm1d", {})},
            "layers.c: BatchNorm1d cannot train on 1 images",
        ),
        ({"a": ("AvgPool2d", {"kernel_size": 8}), "b": ("Flatten", {}), "c": CODES}, "layers: no layer has weights"),
    ],
)
def test_a_network_that_cannot_train_is_reported(
    layers: dict[str, tuple[str, dict[str, object]]], expected: str
) -> None:
    """Layers that compute logits, but do not train on one image or have no weights, are reported by name."""
    with torch.device("meta"), pytest.raises(FashionError) as caught:
        check_training(build(layers), images=1)
    assert str(caught.value).startswith(expected)


def test_linear_layers_without_bias_can_be_drawn_by_fan_in() -> None:
    """With `init: fan_in_normal` a linear layer without a bias gets weights of deviation 1/sqrt(fan in)."""
    layers = {"a": ("Flatten", {}), "b": ("Linear", {"out_features": 10, "bias": False})}
    weight = build(layers, "fan_in_normal").get_parameter("b.weight")
    assert weight.std().item() == pytest.approx(1 / 28, rel=0.05)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 9),
)
def test_average_pooling_with_any_arguments_equals_torchs(
    size: int, stride: int | None, padding: int, ceil_mode: bool, include: bool, divisor: int | None
) -> None:
    """With any arguments values and gradients equal torch.nn's."""
    arguments = size, stride, min(padding, size // 2), ceil_mode, include, divisor
    assert_same(nn.AvgPool2d(*arguments), AvgPool2d(*arguments), (2, 3, 7, 8))
