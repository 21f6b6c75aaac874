"""python -m tools score: scores of weights from any source, and errors for anything else."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dvc.utils.serialize import modify_yaml
from safetensors.torch import save
from sklearn.metrics import accuracy_score, f1_score, log_loss

from fashion.data.reading import read_part, read_split
from fashion.networks import weights
from fashion.networks.building import build
from fashion.networks.weights import load
from fashion.settings.params import Params
from tests.conftest import Tool, inputs

OURS = Path("models/lenet5-0.safetensors")


def scored(tool: Tool, file: str | Path) -> dict[str, Any]:
    """The tool's scores of a file with weights of lenet5."""
    code, output, errors = tool("score", str(file), "--model", "lenet5", "--json")
    assert (code, errors) == (0, "")
    result: dict[str, Any] = json.loads(output)
    return result


def test_scores_equal_scikit_learns(inside: Path, tool: Tool) -> None:
    """Accuracy, loss and macro F1 equal scikit-learn's, with or without mirror images; intervals contain accuracies."""
    network, description, _ = load(OURS)
    network.double().eval()
    train, test = (read_part(inside / "data/raw", part) for part in ("train", "test"))
    parts = read_split(inside / "data/splits/lenet5.csv", train)
    result = scored(tool, OURS)
    # A twelfth of the training images.
    common = parts[1].take(np.arange(120))
    names = ("train", "validation", "common_validation", "test", "mirrored_test")
    for name, part in zip(names, (*parts, common, test, test), strict=True):
        images = inputs(part.images, description.architecture.pixels)
        views = [images, images.flip(3)] if name == "mirrored_test" else [images]
        probabilities = torch.stack([torch.softmax(network(view), 1) for view in views]).mean(0).detach().numpy()
        found = result[name]
        low, high = found.pop("interval")
        assert found == pytest.approx(
            {
                "accuracy": accuracy_score(part.labels, probabilities.argmax(1)),
                "loss": log_loss(part.labels, probabilities),
                "correct": (probabilities.argmax(1) == part.labels).sum(),
                "images": len(part.labels),
                "macro_f1": f1_score(part.labels, probabilities.argmax(1), average="macro"),
            },
            abs=1e-5,
        )
        assert low < found["accuracy"] < high
    assert (result["file"], result["model"]) == (str(OURS), "lenet5")


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_plain_tensors_score_as_ours(tool: Tool, kind: torch.dtype) -> None:
    """A file without a description, of any floating-point type, has its original's scores, except for rounding."""
    tensors, _ = weights.read(OURS)
    Path("plain.safetensors").write_bytes(save({name: tensor.to(kind) for name, tensor in tensors.items()}))
    ours, theirs = scored(tool, OURS), scored(tool, "plain.safetensors")
    tolerance = 0 if kind in (torch.float32, torch.float64) else 0.02
    for part in ("train", "validation", "test"):
        assert theirs[part]["accuracy"] == pytest.approx(ours[part]["accuracy"], abs=tolerance)


def test_the_table_shows_the_same(inside: Path, tool: Tool) -> None:
    """Without --json each part has a line with its images, accuracy, interval, loss and macro F1."""
    _, output, _ = tool("score", str(inside / OURS), "--model", "lenet5")
    expected = []
    for name, part in list(scored(tool, OURS).items())[2:]:
        low, high = part["interval"]
        figures = f"{part['accuracy']:.2%}", f"{low:.2%}", "to", f"{high:.2%}", f"{part['loss']:.4f}"
        expected.append([*name.split("_"), f"{part['images']:,}", *figures, f"{part['macro_f1']:.4f}"])
    assert [line.split() for line in output.splitlines()[1:]] == expected


def test_running_statistics_are_scored(inside: Path, tool: Tool) -> None:
    """Batch norm's statistics are loaded from a plain file, with or without its counters, which are integers.

    Also from the file of a network that was compiled, or in DataParallel: its names have a prefix.
    """
    layers = {"flatten": "Flatten", "norm": "BatchNorm1d", "logits": {"Linear": {"out_features": 10}}}
    with modify_yaml(inside / "params.yaml") as params:
        params["models"]["lenet5"]["layers"] = layers
    row = Params.load().models["lenet5"]
    network = build(row.layers)
    network(torch.rand(50, 1, 28, 28))
    state = network.state_dict()
    uncounted = {name: tensor for name, tensor in state.items() if name != "norm.num_batches_tracked"}
    test = read_part(inside / "data/raw", "test")
    right = network.eval()(inputs(test.images, row.pixels).float()).argmax(1).numpy() == test.labels
    for prefix, tensors in (("", state), ("", uncounted), ("module.", state), ("_orig_mod.module.", uncounted)):
        content = save({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
        Path("plain.safetensors").write_bytes(content)
        assert scored(tool, "plain.safetensors")["test"]["correct"] == right.sum()


def test_a_layer_may_be_called_as_torch_calls_a_whole_network(inside: Path, tool: Tool) -> None:
    """A name that begins with `module` because its layer does is read as it is."""
    with modify_yaml(inside / "params.yaml") as params:
        params["models"]["lenet5"]["layers"] = {"flatten": "Flatten", "module": {"Linear": {"out_features": 10}}}
    Path("plain.safetensors").write_bytes(save(build(Params.load().models["lenet5"].layers).state_dict()))
    assert scored(tool, "plain.safetensors")["test"]["images"] == 360


def refused(tool: Tool, file: str, expected: str) -> None:
    """Check that the tool prints one sentence that matches, and nothing else."""
    code, output, errors = tool("score", file, "--model", "lenet5")
    assert (code, output) == (1, "")
    assert re.fullmatch(f"error: .*{expected}.*", errors), errors


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"conv1.weight": None}, r"of another architecture: 'conv1\.weight' is absent, and must be float \(6, 1"),
        ({"a\nb": torch.zeros(3)}, r"'a\\nb' is float \(3,\), and must be absent\."),
        ({"conv1.weight": torch.zeros(6, 1, 3, 3)}, r"is float \(6, 1, 3, 3\), and must be float \(6, 1, 5, 5\)\."),
        ({"conv1.bias": torch.zeros(6) * 1j}, r"'conv1\.bias' is torch\.complex64 \(6,\), and must be float \(6,\)"),
        ({"conv1.bias": torch.zeros(6).char()}, r"'conv1\.bias' is torch\.int8 \(6,\), and must be float \(6,\)\."),
        ({"conv1.bias": torch.full((6,), torch.nan)}, "logits that are NaN or infinite"),
    ],
    ids=["missing", "foreign", "shape", "complex", "integers", "no numbers"],
)
def test_tensors_that_do_not_fit_are_reported(
    inside: Path, tool: Tool, change: dict[str, torch.Tensor | None], expected: str
) -> None:
    """Names, shapes and types that differ from the architecture's, and values of NaN, are reported in one sentence."""
    state = weights.read(OURS)[0] | change
    plain = {name: tensor for name, tensor in state.items() if tensor is not None}
    (inside / "plain.safetensors").write_bytes(save(plain))
    refused(tool, "plain.safetensors", expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["architecture"]["layers"].update(tanh1=["ReLU", {}]),
        lambda one: one["architecture"].update(layers=dict(sorted(one["architecture"]["layers"].items()))),
        lambda one: one["architecture"].update(pixels={"black": -1.0, "white": 1.0}),
        lambda one: one["split"].update(seed=1),
        lambda one: one.update(dataset="mnist"),
        lambda one: one.pop("architecture"),
    ],
    ids=["another layer", "another order", "other pixels", "another split", "other images", "nothing"],
)
def test_a_description_of_another_network_is_reported(
    inside: Path, tool: Tool, change: Callable[[dict[str, Any]], object]
) -> None:
    """Weights whose description states another computation or other images are refused."""
    tensors, header = weights.read(OURS)
    change(header["description"])
    (inside / "other.safetensors").write_bytes(weights.dumps(tensors, header))
    refused(tool, "other.safetensors", r"other\.safetensors states another data set, split, pixel range or network")


def test_what_is_not_safetensors_is_reported(inside: Path, tool: Tool) -> None:
    """A pickle, which is never loaded, a truncated, empty or missing file and a folder are each reported."""
    (inside / "harmless").touch()
    torch.save({"conv1.weight": Trap()}, "net.pt")
    Path("half.safetensors").write_bytes(OURS.read_bytes()[: OURS.stat().st_size // 2])
    Path("empty.safetensors").touch()
    Path("folder.safetensors").mkdir()
    for name in ("net.pt", "half.safetensors", "empty.safetensors", "folder.safetensors"):
        refused(tool, name, rf"{name} cannot be read as safetensors \(.*\): ")
    refused(tool, "none.safetensors", r"none\.safetensors is not here")
    assert Path("harmless").is_file()


class Trap:
    """Deletes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.remove, ("harmless",)


def test_what_is_missing_or_impossible_is_reported(inside: Path, tool: Tool) -> None:
    """Missing data name the stage that makes them, an unknown key the closest one, impossible layers their place."""
    for file in ("data/splits/lenet5.csv", "data/raw/train-labels-idx1-ubyte"):
        (inside / file).unlink()
        refused(tool, str(OURS), f"{file} is not here: dvc repro split makes it")
    code, _, errors = tool("score", str(OURS), "--model", "lenet")
    assert (code, errors) == (1, "error: no architecture of params.yaml is called 'lenet': did you mean lenet5?")
    with modify_yaml(inside / "params.yaml") as params:
        params["models"]["lenet5"]["layers"]["tanh1"] = "Tan"
    refused(tool, str(OURS), r"models\.lenet5\.layers\.tanh1: there is no layer 'Tan': did you mean Tanh\?")


def test_published_figures_are_those_of_fashion_mnist(inside: Path, tool: Tool) -> None:
    """With another data set, the list of architectures shows no published figures."""
    path, found = inside / "params.yaml", []
    for name in ("digits", "fashion_mnist"):
        path.write_text(path.read_text().replace("dataset: digits", f"dataset: {name}"))
        rows = json.loads(tool("models", "--json")[1])
        assert {row["key"] for row in rows} >= {"lenet5", "alexnet"}
        found.append(any(row["published"] for row in rows))
    assert found == [False, True]
