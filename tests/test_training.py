"""The engine, compared with a plain PyTorch loop and with itself."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
from fashion.networks.layers import Dropout
from fashion.settings.description import NO_AUGMENT, Architecture, Augment, Numerics, Train
from fashion.settings.params import Params
from fashion.training import lanes
from fashion.training.engine import Epoch, Run, begin, train
from fashion.training.hardware import Hardware, choose
from fashion.training.recipe import learning_rate, steps_per_epoch
from tests.conftest import inputs

PLAIN = Numerics(precision="fp32", compile=False, channels_last=True, deterministic=True, lanes=2, kernels="portable")


def hardware(**changes: Any) -> Hardware:
    """The CPU with two lanes, in full precision, except for the changes."""
    return choose("cpu", PLAIN.model_copy(update=changes))


def row(params: Params, key: str = "lenet5", **changes: Any) -> Architecture:
    """An architecture under the common recipe, without augmentation and with the given changes."""
    plain = {"epochs": 1, "augment": NO_AUGMENT}
    recipe = Train(**dict(params.train) | plain).model_copy(update=changes)
    return params.models[key].model_copy(update={"train": recipe})


def prepared(architecture: Architecture, seed: int = 0, **changes: Any) -> Run:
    """A run that has not started."""
    return begin(build(architecture.layers, architecture.init, seed), architecture, seed, hardware(**changes))


def halves(part: Part) -> tuple[Part, Part]:
    """The first 1,000 images to train on, the rest to validate on."""
    return part.take(np.arange(1000)), part.take(np.arange(1000, len(part.labels)))


def trained(architecture: Architecture, part: Part, seed: int = 0, **changes: Any) -> tuple[list[Epoch], nn.Module]:
    """The records and the network of a whole run."""
    run = prepared(architecture, seed, **changes)
    return list(train(run, *halves(part))), run.network


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_epochs_equal_a_plain_loop(params: Params, digits: Part, name: str) -> None:
    """On the same batches, mirrored alike, the loop that everyone writes ends with the same weights and record."""
    changes: dict[str, Any] = {"epochs": 2, "batch_size": 64, "optimizer": name}
    changes |= {"learning_rate": 0.05 if name == "sgd" else 0.002}
    changes |= {
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "warmup": 0.2,
        "augment": Augment(flip=True, shift=0, erase=0),
    }
    architecture = row(params, **changes)
    epochs, network = trained(architecture, digits, channels_last=False)

    recipe, plain = architecture.train, build(architecture.layers, seed=0)
    optimizer = OPTIMIZERS[name](plain.parameters(), lr=1.0, weight_decay=0.01)
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


def test_all_random_numbers_come_from_separate_streams(params: Params, digits: Part) -> None:
    """The order of the images, and each lane's augmentation and dropout, are drawn from different seeds."""
    run = prepared(row(params, "cnn", epochs=1))
    list(train(run, *halves(digits)))
    order = int(np.random.SeedSequence([0, 1]).generate_state(1)[0])
    drawing = [module for lane in run.lanes.own for module in lane.network if isinstance(module, Dropout)]
    dropout = {module.generator.initial_seed() for module in drawing if module.generator}
    assert len({order, *dropout, *(lane.generator.initial_seed() for lane in run.lanes.own)}) == 5


@pytest.mark.parametrize("key", ["fcnn", "conv4_pool2_bn"])
def test_the_number_of_cores_changes_no_bit(
    params: Params, digits: Part, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The records and weights are the same, however many threads compute lanes and update weights."""
    architecture, results = row(params, key, epochs=2, batch_size=250), []
    for count in (1, 2, 4):
        # The smallest slices, so that several threads update the weights of a small network too.
        monkeypatch.setattr(lanes, "SLICE", lanes.WHOLE)
        monkeypatch.setattr(lanes, "cores", lambda count=count: count)
        with ThreadPoolExecutor(count) as pool:
            monkeypatch.setattr(threads, "_pool", lambda pool=pool: pool)
            results.append(trained(architecture, digits))
    (first, one), *others = results
    for epochs, network in others:
        assert epochs == first
        assert all(torch.equal(weight, network.state_dict()[name]) for name, weight in one.state_dict().items())


def test_batch_norm_keeps_the_mean_of_the_lanes(params: Params, digits: Part) -> None:
    """After an epoch of one batch, the running statistics are the mean of those that torch computes for its halves."""
    architecture = row(params, "conv4_pool2_bn", epochs=1, batch_size=100)
    run = prepared(architecture)
    part = digits.take(np.arange(100))
    list(train(run, part, part))
    order = torch.randperm(
        100, generator=torch.Generator().manual_seed(int(np.random.SeedSequence([0, 1]).generate_state(1)[0]))
    )
    expected = []
    for half in order.tensor_split(2):
        norm = nn.BatchNorm2d(1)
        norm(inputs(part.images[half.numpy()], architecture.pixels).float())
        expected.append(norm.state_dict())
    for name in ("running_mean", "running_var"):
        mean = torch.stack([state[name] for state in expected]).mean(0)
        torch.testing.assert_close(run.network.state_dict()[f"norm1.{name}"], mean)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(params: Params, digits: Part, precision: str) -> None:
    """Two trainings agree in every weight and every number of their history, and one with another seed differs."""
    architecture = row(params, "cnn", epochs=2)
    (first, one), (second, same), (_, other) = (
        trained(architecture, digits, seed, precision=precision) for seed in (0, 0, 1)
    )
    assert first == second
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in one.state_dict().items())
    assert not torch.equal(one.state_dict()["conv1.weight"], other.state_dict()["conv1.weight"])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "sgd"])
def test_every_optimizer_learns(params: Params, digits: Part, optimizer: str) -> None:
    """After eight epochs on a thousand digits, validation accuracy is above 80 %."""
    rate = 0.05 if optimizer == "sgd" else 0.003
    architecture = row(params, epochs=8, batch_size=50, optimizer=optimizer, learning_rate=rate, weight_decay=0.0)
    epochs, _ = trained(architecture, digits)
    assert epochs[-1].validation_accuracy > 0.8


def test_the_record_matches_the_weights(params: Params, digits: Part) -> None:
    """An epoch's validation figures are those of the network at its end, and `best` marks each new best epoch."""
    architecture = row(params, epochs=6)
    epochs, network = trained(architecture, digits)
    images, labels = inputs(digits.images[1000:], architecture.pixels).float(), torch.tensor(digits.labels[1000:])
    with torch.no_grad():
        output = network.eval()(images)
    assert epochs[-1].validation_accuracy == pytest.approx((output.argmax(1) == labels).float().mean().item())
    assert epochs[-1].validation_loss == pytest.approx(functional.cross_entropy(output, labels).item(), rel=1e-4)
    scores = [(epoch.validation_accuracy, -epoch.validation_loss) for epoch in epochs]
    assert [epoch.best for epoch in epochs] == [
        score > max([(-1.0, 0.0), *scores[:i]]) for i, score in enumerate(scores)
    ]


def test_the_best_weights_are_kept_while_training_continues(params: Params, digits: Part) -> None:
    """The kept weights are those of the best epoch, to the bit, whatever follows it."""
    run = prepared(row(params, epochs=12, optimizer="adamw", learning_rate=0.02))
    seen: dict[str, torch.Tensor] = {}
    for epoch in train(run, *halves(digits)):
        if epoch.best:
            seen = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    assert not run.epochs[-1].best, "the last epoch is the best one, so this test cannot fail"
    assert seen.keys() == run.best.keys()
    assert all(torch.equal(tensor, run.best[name]) for name, tensor in seen.items())


@pytest.mark.parametrize(
    ("key", "precision", "optimizer"),
    [
        ("lenet5", "fp32", "adam"),
        ("lenet5", "fp32", "nadam"),
        ("lenet5", "fp32", "sgd"),
        ("lenet5", "bf16", "adamw"),
        ("fcnn", "fp32", "adamw"),
        ("conv4_pool2_bn", "fp32", "adamw"),
    ],
)
def test_a_resumed_run_ends_in_the_same_bits(
    params: Params, digits: Part, key: str, precision: str, optimizer: str
) -> None:
    """A run stopped after two epochs and resumed in another run gives the records and weights of one never stopped."""
    architecture = row(params, key, epochs=4, optimizer=optimizer, batch_size=250)
    full, first, second = (prepared(architecture, seed=seed, precision=precision) for seed in (0, 0, 0))
    list(train(full, *halves(digits)))
    for epoch in train(first, *halves(digits)):
        if epoch.number == 2:
            break
    tensors, values = first.state()
    # As they are in a file.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    second.resume(tensors, json.loads(json.dumps(values)))
    list(train(second, *halves(digits)))
    assert second.epochs == full.epochs
    for one, other in ((second.network.state_dict(), full.network.state_dict()), (second.best, full.best)):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "sgd"])
def test_what_a_step_changes_stays_in_place(params: Params, digits: Part, optimizer: str) -> None:
    """After the first step no tensor moves, in any epoch: a CUDA graph would go on writing to its old place."""
    run, places = prepared(row(params, "conv4_pool2_bn", epochs=2, batch_size=10, optimizer=optimizer)), []
    part = digits.take(np.arange(40))

    def note() -> None:
        tensors = [tensor for lane in run.lanes.own for tensor in (lane.gradients, *lane.network.state_dict().values())]
        tensors += [tensor for name, tensor in run.state()[0].items() if name.startswith("network/")]
        for piece in run.lanes._slices:
            tensors += [piece.weights, piece.rounded, *piece.optimizer.state[piece.weights].values()]
        places.append([tensor.data_ptr() for tensor in tensors])

    list(train(run, part, part, note))
    assert len(places) == 8
    assert all(place == places[0] for place in places)


def test_a_diverged_training_is_reported(params: Params, digits: Part) -> None:
    """A loss that is NaN or infinite ends training with a message that has the fix."""
    with pytest.raises(FashionError, match=r"lower train\.learning_rate"):
        trained(row(params, "fcnn", epochs=1, optimizer="sgd", learning_rate=1e30, warmup=0.0), digits)


def test_label_smoothing_keeps_the_loss_up(params: Params, digits: Part) -> None:
    """With label smoothing of 0.2 the loss stays above the targets' entropy, and above the loss without smoothing."""
    rough, smooth = (
        trained(row(params, epochs=10, label_smoothing=value), digits)[0][-1].train_loss for value in (0.0, 0.2)
    )
    assert smooth > rough
    assert smooth > 0.866  # the entropy of 0.82 once and 0.02 nine times


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "sgd"])
def test_weight_decay_shrinks_weights(params: Params, digits: Part, optimizer: str) -> None:
    """With decay the weights end smaller, whatever the optimizer."""
    free, decayed = (
        trained(row(params, epochs=5, weight_decay=decay, optimizer=optimizer), digits)[1] for decay in (0.0, 1.0)
    )
    assert decayed.state_dict()["conv3.weight"].norm() < free.state_dict()["conv3.weight"].norm()


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
