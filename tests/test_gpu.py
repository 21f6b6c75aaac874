"""On a CUDA GPU, replayed steps give the bits of ordinary ones, and lanes are those of a CPU.

It needs no fixture of conftest.py, so that it also runs on a machine without DVC: pytest --noconftest.
"""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from fashion.data.fetching import fetch
from fashion.data.reading import Part, read_part
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.settings.description import NO_AUGMENT, Augment, Numerics, Train
from fashion.settings.params import Params
from fashion.training import lanes
from fashion.training.engine import Run, begin, train
from fashion.training.graphs import FIRST, Replay

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

ROOT = Path(__file__).parents[1]
NUMERICS = Numerics(compile=False, channels_last=True, deterministic=True, kernels="portable")
AUGMENT = Augment(flip=True, shift=1, erase=4)
ROWS = Params.load(ROOT / "params.yaml").models


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """The training part of `digits`."""
    folder = tmp_path_factory.mktemp("digits")
    list(fetch("digits", folder, None))
    return read_part(folder, "train")


def prepared(key: str, device: str = "cuda", numerics: Numerics = NUMERICS, **recipe: Any) -> Run:
    """A run that has not started, by default on the GPU in bf16: three epochs in batches of 100, with augmentation."""
    row = ROWS[key]
    changes = {"epochs": 3, "batch_size": 100, "augment": AUGMENT, "precision": "bf16"} | recipe
    row = row.model_copy(update={"train": Train(**dict(row.train) | changes)})
    return begin(build(row.layers, row.init, 0), row, 0, choose(device, numerics, row.train.precision))


def finished(run: Run, part: Part, images: int = 1000) -> Run:
    """The run after its remaining epochs, on the first images; the others validate."""
    list(train(run, part.take(np.arange(images)), part.take(np.arange(1000, len(part.labels)))))
    return run


def ordinary(run: Run, part: Part, images: int = 1000) -> Run:
    """The run after its remaining epochs, without a CUDA graph."""
    with patch.object(lanes, "Replay", lambda function, _: function):
        return finished(run, part, images)


def saved(run: Run) -> tuple[dict[str, Tensor], Any]:
    """A run's state as a checkpoint has it."""
    tensors, values = run.state()
    return {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}, json.loads(json.dumps(values))


def assert_same(one: Run, other: Run) -> None:
    """Two runs have the same records, weights, statistics, optimizer state and scale of the loss."""
    assert one.epochs == other.epochs
    (tensors, values), (others, same) = saved(one), saved(other)
    assert values == same
    assert tensors.keys() == others.keys()
    assert [name for name, tensor in tensors.items() if not torch.equal(tensor, others[name])] == []


@pytest.mark.parametrize("key", [key for key in ROWS if not key.endswith("_published")])
def test_a_replayed_architecture_trains_to_the_same_bits(digits: Part, key: str) -> None:
    """Three epochs of each architecture, with its own optimizer, give the same bits with and without a graph."""
    assert_same(finished(prepared(key), digits), ordinary(prepared(key), digits))


@pytest.mark.parametrize("count", [1, 4])
def test_a_gpu_trains_as_a_cpu_does(digits: Part, count: int) -> None:
    """With the same lanes and nothing random, only rounding differs: batch norm sees the same groups of images."""
    recipe: dict[str, Any] = {"precision": "fp32", "lanes": count, "augment": NO_AUGMENT, "learning_rate": 0.01}
    one, other = (finished(prepared("conv3_pool2_bn", device, **recipe), digits) for device in ("cuda", "cpu"))
    for epoch, same in zip(one.epochs, other.epochs, strict=True):
        assert epoch.train_loss == pytest.approx(same.train_loss, rel=5e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "sgd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("key", ["cnn", "conv4_pool2_bn"])
def test_a_replayed_optimizer_trains_to_the_same_bits(digits: Part, key: str, precision: str, optimizer: str) -> None:
    """Every optimizer in every precision, with dropout or batch norm, gives the same bits with and without graphs."""
    runs = (prepared(key, precision=precision, optimizer=optimizer) for _ in range(2))
    assert_same(finished(next(runs), digits), ordinary(next(runs), digits))


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns
@pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("clang")), reason="needs a C compiler")
def test_a_replayed_compiled_network_trains_to_the_same_bits(digits: Part) -> None:
    """A network that torch.compile has compiled gives the same bits with and without a graph."""
    runs = (prepared("cnn", numerics=NUMERICS.model_copy(update={"compile": True})) for _ in range(2))
    assert_same(finished(next(runs), digits), ordinary(next(runs), digits))


@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [("bf16", "adamw"), ("bf16", "nadam"), ("bf16", "sgd"), ("fp16", "adam")],
)
def test_a_resumed_run_ends_in_the_same_bits(digits: Part, precision: str, optimizer: str) -> None:
    """A state saved after one epoch gives the same bits in a new run, and again in a run that has captured a graph."""
    full, first, second = (prepared("cnn", precision=precision, optimizer=optimizer) for _ in range(3))
    finished(full, digits)
    for _ in train(first, digits.take(np.arange(1000)), digits.take(np.arange(1000, len(digits.labels)))):
        state = saved(first)
        break
    for run in (second, first, second):
        run.resume(*state)
        assert_same(finished(run, digits), full)


@pytest.mark.parametrize("images", [60, 199, 250, 1000])
def test_epochs_of_any_length_are_replayed(digits: Part, images: int) -> None:
    """With fewer images than a batch, one batch, or fewer batches an epoch than calls before the capture: same bits."""
    runs = [prepared("cnn", epochs=6) for _ in range(2)]
    assert_same(finished(runs[0], digits, images), ordinary(runs[1], digits, images))


def test_most_steps_are_replayed(digits: Part) -> None:
    """After the first steps each step is one launch, in one graph for all epochs."""
    with (
        patch.object(torch.cuda.CUDAGraph, "replay", autospec=True, side_effect=torch.cuda.CUDAGraph.replay) as replay,
        patch.object(Replay, "_capture", autospec=True, side_effect=Replay._capture) as capture,
    ):
        finished(prepared("cnn"), digits)
    assert replay.call_count == 3 * 10 - FIRST
    assert capture.call_count == 1
