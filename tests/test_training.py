"""The engine, compared with a plain PyTorch loop and with itself."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fashion import threads
from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.networks.layers import Dropout
from fashion.settings.description import NO_AUGMENT, Architecture, Augment, Numerics, Train
from fashion.settings.params import Params
from fashion.training import lanes
from fashion.training.engine import Epoch, Run, begin, train
from fashion.training.recipe import learning_rate, steps_per_epoch
from tests.conftest import inputs

PLAIN = Numerics(compile=False, channels_last=True, deterministic=True, kernels="portable")


def row(params: Params, key: str = "lenet5", **changes: Any) -> Architecture:
    """An architecture under the common recipe, in fp32, without augmentation and with the given changes."""
    plain = {"epochs": 1, "precision": "fp32", "augment": NO_AUGMENT}
    recipe = Train(**dict(params.train) | plain).model_copy(update=changes)
    return params.models[key].model_copy(update={"train": recipe})


def prepared(architecture: Architecture, seed: int = 0, **changes: Any) -> Run:
    """A run that has not started, on the CPU with changed settings of `gpu`."""
    hardware = choose("cpu", PLAIN.model_copy(update=changes), architecture.train.precision)
    return begin(build(architecture.layers, architecture.init, seed), architecture, seed, hardware)


def halves(part: Part) -> tuple[Part, Part]:
    """The first 1,000 images to train on, the rest to validate on."""
    return part.take(np.arange(1000)), part.take(np.arange(1000, len(part.labels)))


def trained(architecture: Architecture, part: Part, seed: int = 0, **changes: Any) -> tuple[list[Epoch], nn.Module]:
    """The records and the network of a whole run."""
    run = prepared(architecture, seed, **changes)
    return list(train(run, *halves(part))), run.network


# Large enough to be seen in the weights after two epochs.
DECAY = 0.5
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_epochs_equal_a_plain_loop(params: Params, digits: Part, name: str) -> None:
    """On the same batches, mirrored alike, the loop that everyone writes ends with the same weights and record."""
    changes: dict[str, Any] = {"epochs": 2, "batch_size": 64, "optimizer": name, "warmup": 0.2, "label_smoothing": 0.1}
    changes |= {"learning_rate": 0.05 if name == "sgd" else 0.002, "weight_decay": DECAY}
    architecture = row(params, **changes, augment=Augment(flip=True, shift=0, erase=0))
    epochs, network = trained(architecture, digits, channels_last=False)

    recipe, plain = architecture.train, build(architecture.layers, seed=0)
    optimizer = OPTIMIZERS[name](plain.parameters(), lr=1.0, weight_decay=DECAY)
    images, labels = inputs(digits.images[:1000], architecture.pixels).float(), torch.tensor(digits.labels[:1000])
    for epoch in (1, 2):
        drawn = np.random.SeedSequence([0, epoch]).generate_state(5).tolist()
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(drawn[0]))
        # Each half of a batch is mirrored by the generator of its lane.
        lanes_of = [torch.Generator().manual_seed(seed) for seed in drawn[1::2]]
        losses, hits = [], 0
        for step, index in enumerate(order[: 15 * 64].split(64)):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, (epoch - 1) * 15 + step, 30)
            mirrored = torch.cat([torch.randint(2, (32,), generator=one) for one in lanes_of])
            batch = torch.where(mirrored.bool()[:, None, None, None], images[index].flip(3), images[index])
            output = plain(batch)
            loss = functional.cross_entropy(output, labels[index], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            hits += int((output.argmax(1) == labels[index]).sum())
        record = epochs[epoch - 1]
        assert record.learning_rate == optimizer.param_groups[0]["lr"]
        assert record.train_loss == pytest.approx(np.mean(losses), rel=1e-4)
        assert record.train_accuracy == pytest.approx(hits / (15 * 64), abs=0.0021)
    for key, weight in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], weight, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_lanes_are_the_groups_of_a_plain_loop(
    params: Params, digits: Part, monkeypatch: pytest.MonkeyPatch, count: int, place: str
) -> None:
    """In threads or, as on a GPU, one after the other, lanes train as a plain loop with the same groups of images.

    Another number of groups trains otherwise.
    """
    monkeypatch.setattr(lanes, "each", lambda function, items, *_: threads.each(function, items, place))
    architecture = row(params, "conv3_pool2_bn", batch_size=100, learning_rate=0.01, lanes=count)
    (record,), _ = trained(architecture, digits)

    def loop(groups: int) -> float:
        plain, losses = build(architecture.layers, seed=0), []
        optimizer = OPTIMIZERS["sgd"](plain.parameters(), lr=1.0, weight_decay=architecture.train.weight_decay)
        images, labels = inputs(digits.images[:1000], architecture.pixels).float(), torch.tensor(digits.labels[:1000])
        seed = int(np.random.SeedSequence([0, 1]).generate_state(1)[0])
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))
        for step, batch in enumerate(order.split(100)):
            optimizer.param_groups[0]["lr"] = learning_rate(architecture.train, step, 10)
            optimizer.zero_grad()
            for group in batch.tensor_split(groups):
                loss = functional.cross_entropy(plain(images[group]), labels[group], reduction="sum") / 100
                loss.backward()
                losses.append(loss.item())
            optimizer.step()
        return sum(losses) / 10

    assert record.train_loss == pytest.approx(loop(count), rel=1e-3)
    assert record.train_loss != pytest.approx(loop(2 if count == 1 else 1), rel=1e-2)


def test_all_random_numbers_come_from_separate_streams(params: Params, digits: Part) -> None:
    """The order of the images, and each lane's augmentation and dropout, are drawn from different seeds."""
    run = prepared(row(params, "cnn"))
    list(train(run, *halves(digits)))
    drawing = [module.generator for lane in run.lanes.all for module in lane.network if isinstance(module, Dropout)]
    seeds = {one.initial_seed() for one in (*drawing, *(lane.generator for lane in run.lanes.all)) if one}
    assert len(seeds | {int(np.random.SeedSequence([0, 1]).generate_state(1)[0])}) == 5


@pytest.mark.parametrize(("key", "precision"), [("fcnn", "fp32"), ("conv4_pool2_bn", "fp32"), ("cnn", "bf16")])
def test_the_number_of_cores_changes_no_bit(
    params: Params, digits: Part, monkeypatch: pytest.MonkeyPatch, key: str, precision: str
) -> None:
    """Records and weights are the same however many threads compute lanes and update weights; another seed's differ."""
    architecture, results = row(params, key, epochs=2, batch_size=250, precision=precision), []
    # The smallest slices, so that several threads update the weights of a small network too.
    monkeypatch.setattr(lanes, "SLICE", lanes.WHOLE)
    for count, seed in ((1, 0), (2, 0), (4, 0), (4, 1)):
        monkeypatch.setattr(lanes, "cores", lambda count=count: count)
        with ThreadPoolExecutor(count) as pool:
            monkeypatch.setattr(threads, "_pool", lambda pool=pool: pool)
            epochs, network = trained(architecture, digits, seed)
        results.append((epochs, network.state_dict()))
    (first, one), *same, (other, _) = results
    assert other != first
    for epochs, state in same:
        assert epochs == first
        assert all(torch.equal(weight, state[name]) for name, weight in one.items())


def test_batch_norm_keeps_the_mean_of_the_lanes(params: Params, digits: Part) -> None:
    """After an epoch of one batch, the running statistics are the mean of those that torch computes for its halves."""
    run, part = prepared(row(params, "conv4_pool2_bn", batch_size=100)), digits.take(np.arange(100))
    list(train(run, part, part))
    seed = int(np.random.SeedSequence([0, 1]).generate_state(1)[0])
    expected = []
    for half in torch.randperm(100, generator=torch.Generator().manual_seed(seed)).tensor_split(2):
        norm = nn.BatchNorm2d(1)
        norm(inputs(part.images[half.numpy()], run.architecture.pixels).float())
        expected.append(norm.state_dict())
    for name in ("running_mean", "running_var"):
        mean = torch.stack([state[name] for state in expected]).mean(0)
        torch.testing.assert_close(run.network.state_dict()[f"norm1.{name}"], mean)


def test_the_record_matches_the_weights(params: Params, digits: Part) -> None:
    """An epoch's figures are those of the network at its end; `best` marks new best epochs, whose weights are kept."""
    run = prepared(row(params, epochs=12, optimizer="adamw", learning_rate=0.02))
    images = inputs(digits.images[1000:], run.architecture.pixels).float()
    labels, seen = torch.tensor(digits.labels[1000:]), [(-1.0, 0.0)]
    best: dict[str, torch.Tensor] = {}
    for epoch in train(run, *halves(digits)):
        with torch.no_grad():
            output = run.network.eval()(images)
        accuracy, loss = (output.argmax(1) == labels).float().mean(), functional.cross_entropy(output, labels)
        assert epoch.validation_accuracy == pytest.approx(accuracy.item())
        assert epoch.validation_loss == pytest.approx(loss.item(), rel=1e-4)
        score = (epoch.validation_accuracy, -epoch.validation_loss)
        assert epoch.best == (score > max(seen))
        seen.append(score)
        if epoch.best:
            best = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    assert not run.epochs[-1].best, "the last epoch is the best one, so this test cannot fail"
    assert best.keys() == run.best.keys()
    assert all(torch.equal(tensor, run.best[name]) for name, tensor in best.items())


@pytest.mark.parametrize(
    ("key", "precision", "optimizer"),
    [*(("lenet5", "fp32", name) for name in ("adam", "nadam", "sgd")), ("lenet5", "bf16", "adamw")]
    + [(key, "fp32", "adamw") for key in ("fcnn", "conv4_pool2_bn")],
)
def test_a_resumed_run_ends_in_the_same_bits(
    params: Params, digits: Part, key: str, precision: str, optimizer: str
) -> None:
    """A run stopped after two epochs and resumed in another run gives the records and weights of one never stopped."""
    architecture = row(params, key, epochs=4, precision=precision, optimizer=optimizer, batch_size=250)
    full, first, second = (prepared(architecture) for _ in range(3))
    list(train(full, *halves(digits)))
    list(islice(train(first, *halves(digits)), 2))
    tensors, values = first.state()
    # As they are in a file.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    second.resume(tensors, json.loads(json.dumps(values)))
    list(train(second, *halves(digits)))
    assert second.epochs == full.epochs
    for one, other in ((second.network.state_dict(), full.network.state_dict()), (second.best, full.best)):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_diverged_training_is_reported(params: Params, digits: Part) -> None:
    """A loss that is NaN or infinite ends training with a message that has the fix."""
    with pytest.raises(FashionError, match=r"lower train\.learning_rate"):
        trained(row(params, "fcnn", epochs=1, optimizer="sgd", learning_rate=1e30, warmup=0.0), digits)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [1 / 3, 2 / 3, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060]),
    ],
)
def test_rates_follow_the_schedule(params: Params, schedule: str, expected: list[float]) -> None:
    """With warm-up for a fifth of ten steps, two steps rise, then the schedule starts at its maximum and is never 0."""
    recipe = row(params, learning_rate=1.0, warmup=0.2, schedule=schedule).train
    assert [learning_rate(recipe, step, 10) for step in range(10)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("images", "steps"), [(1000, 7), (128, 1), (5, 1)])
def test_an_epoch_has_whole_batches(params: Params, images: int, steps: int) -> None:
    """Images that do not fill a batch of 128 are left out, unless there are no others."""
    assert steps_per_epoch(images, params.models["lenet5"].train) == steps
