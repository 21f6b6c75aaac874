"""python -m tools predict: predictions for pictures, and errors for anything else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fashion.data.reading import Part, read_part
from fashion.networks import weights
from fashion.networks.weights import load
from fashion.using.pictures import png, prepared
from tests.conftest import Tool, inputs

WEIGHTS = Path("models/lenet5.safetensors")


@pytest.fixture
def test_part(inside: Path) -> Part:
    """The test part of the folder's data."""
    return read_part(inside / "data/raw", "test")


def probabilities(images: Any) -> Any:
    """The predictions of the folder's network for images, in double precision, by torch alone."""
    network, row, _ = load(WEIGHTS)
    return torch.softmax(network.double().eval()(inputs(images, row.architecture.pixels)), 1).detach().numpy()


def written(folder: Path, images: Any, *names: str) -> None:
    """Write images as PNG files of those names."""
    folder.mkdir(exist_ok=True)
    for name, image in zip(names, images, strict=False):
        (folder / name).write_bytes(png(image))


def test_tiles_get_the_networks_probabilities(test_part: Part, tool: Tool) -> None:
    """Each file of a folder has its classes in descending order, with labels, names and the network's probabilities."""
    count = 250
    written(Path("tiles"), test_part.images, *(f"{number:03}.png" for number in range(count)))
    code, output, errors = tool("predict", "tiles", "--json", "--top", "10")
    rows = json.loads(output)
    assert (code, errors) == (0, "")
    assert [row["file"] for row in rows] == [f"tiles/{number:03}.png" for number in range(count)]
    expected = probabilities(test_part.images[:count])
    for row, wanted in zip(rows, expected, strict=True):
        assert [one["label"] for one in row["classes"]] == np.argsort(-wanted).tolist()
        assert [one["name"] for one in row["classes"]] == [str(one["label"]) for one in row["classes"]]
        assert [one["probability"] for one in row["classes"]] == pytest.approx(np.sort(wanted)[::-1], abs=2e-6)
    right = [row["classes"][0]["label"] == label for row, label in zip(rows, test_part.labels, strict=False)]
    assert np.mean(right) > 0.7


def test_a_photo_is_predicted_as_its_tile(test_part: Part, tool: Tool) -> None:
    """A picture of any size and background gets the prediction of the tile that is prepared from it."""
    large = np.pad(np.kron(255 - test_part.images[0], np.ones((9, 9), np.uint8)), 40, constant_values=255)
    Image.fromarray(large).convert("RGB").save("photo.webp", lossless=True)
    _, output, _ = tool("predict", "photo.webp", "--json", "--top", "1")
    wanted = probabilities(prepared(large)[None])[0]
    [one] = json.loads(output)[0]["classes"]
    assert one["label"] == wanted.argmax()
    assert one["probability"] == pytest.approx(wanted.max(), abs=2e-6)


def test_the_table_shows_the_same(test_part: Part, tool: Tool) -> None:
    """Without --json each file has a line with its classes and probabilities, in the order of the arguments."""
    written(Path(), test_part.images, "b.png", "a.png")
    code, output, _ = tool("predict", "b.png", "a.png", "--model", "lenet5", "--top", "2")
    _, *lines = output.splitlines()
    expected = []
    for name, wanted in zip(("b.png", "a.png"), probabilities(test_part.images[:2]), strict=True):
        first, second = np.argsort(-wanted)[:2]
        expected.append([name, f"{first}", f"{wanted[first]:.2%}", f"{second}", f"{wanted[second]:.2%}"])
    assert [line.split() for line in lines] == expected
    assert code == 0


def test_what_cannot_be_read_is_reported_after_the_others(test_part: Part, tool: Tool) -> None:
    """Damaged and missing files are reported in a sentence each, the others are still shown, and the exit code is 1."""
    written(Path("mixed"), test_part.images, "a.png", "m.png", "z.png")
    Path("mixed/m.png").write_bytes(b"")
    code, output, errors = tool("predict", "mixed", "nowhere.png", "--json")
    assert code == 1
    assert [row["file"] for row in json.loads(output)] == ["mixed/a.png", "mixed/z.png"]
    first, second = errors.splitlines()
    assert first.startswith("error: mixed/m.png is not an image")
    assert second.startswith("error: nowhere.png is not here")


def test_without_any_picture_there_is_an_empty_list(inside: Path, tool: Tool) -> None:
    """If nothing can be read, the JSON is an empty list, and there is no table."""
    (inside / "empty").mkdir()
    assert tool("predict", "empty", "--json")[:2] == (1, "[]\n")
    assert tool("predict", "empty") == (1, "", "error: empty is a folder without images.\n")


def test_prepared_pictures_are_saved(test_part: Part, tool: Tool) -> None:
    """--save writes what the network sees, numbered in the table's order, and replaces no photo in the same folder."""
    for folder in ("one", "two"):
        written(Path(folder), 255 - test_part.images, "same.png")
    photo = Path("one/same.png").read_bytes()
    assert tool("predict", "one", "two", "--save", "one")[0] == 0
    assert Path("one/same.png").read_bytes() == photo
    assert sorted(path.name for path in Path("one").iterdir()) == ["1-same.png", "2-same.png", "same.png"]
    for name in ("1-same.png", "2-same.png"):
        assert np.array_equal(np.asarray(Image.open(f"one/{name}")), test_part.images[0])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff.png", "\ufffd.png"),
        (b"[red]\x1b[31m.png", "[red]\ufffd[31m.png"),
        (b"a\nb.png", "a\ufffdb.png"),
        ("Schürze.png".encode(), "Schürze.png"),
    ],
)
@pytest.mark.parametrize("content", ["tile", "nothing"])
def test_any_name_can_be_shown(test_part: Part, tool: Tool, name: bytes, shown: str, content: str) -> None:
    """Names with invalid text, markup or control characters are shown in one line each, and exactly in JSON."""
    Path(os.fsdecode(name)).write_bytes(png(test_part.images[0]) if content == "tile" else b"")
    code, output, errors = tool("predict", os.fsdecode(name))
    assert code == (content == "nothing")
    assert (len(output.splitlines()), len(errors.splitlines())) == ((2, 0) if content == "tile" else (0, 1))
    assert shown in output + errors
    _, output, _ = tool("predict", os.fsdecode(name), "--json")
    assert [row["file"] for row in json.loads(output)] == ([os.fsdecode(name)] if content == "tile" else [])


def test_missing_weights_are_reported(inside: Path, tool: Tool) -> None:
    """Without weights the message says how to get them."""
    (inside / "shirt.png").touch()
    expected = (
        "error: models/alexnet.safetensors is not here: "
        "dvc repro models/dvc.yaml:train@alexnet trains it, dvc pull models/dvc.yaml:train@alexnet fetches it."
    )
    assert tool("predict", "shirt.png", "--model", "alexnet") == (1, "", expected)


@pytest.mark.parametrize("classes", [None, ["a"], [1] * 10, "0123456789", {"a": 1}])
def test_weights_without_class_names_are_reported(test_part: Part, tool: Tool, classes: object) -> None:
    """If the weights' header does not name ten classes, there is no prediction."""
    tensors, header = weights.read(WEIGHTS)
    WEIGHTS.write_bytes(weights.dumps(tensors, header | {"classes": classes}))
    written(Path(), test_part.images, "tile.png")
    code, output, errors = tool("predict", "tile.png")
    assert (code, output) == (1, "")
    assert errors.startswith("error: models/lenet5.safetensors is damaged (classes")


def test_weights_with_nan_are_reported(test_part: Part, tool: Tool) -> None:
    """If weights contain NaN, there is no prediction."""
    tensors, header = weights.read(WEIGHTS)
    tensors["conv1.bias"][0] = float("nan")
    WEIGHTS.write_bytes(weights.dumps(tensors, header))
    written(Path(), test_part.images, "tile.png")
    code, output, errors = tool("predict", "tile.png", "--json")
    assert (code, output) == (1, "")
    assert errors == "error: these weights give logits that are NaN or infinite: train them again."


def test_long_names_are_saved(test_part: Part, tool: Tool) -> None:
    """Pictures with names of 240 letters, also of several bytes each, are saved under the start of their names."""
    written(Path("photos"), test_part.images, f"{240 * 'a'}.png", f"{70 * 'é'}.png")
    assert tool("predict", "photos", "--save", "saved", "--json")[0] == 0
    assert sorted(path.name for path in Path("saved").iterdir()) == [f"1-{50 * 'a'}.png", f"2-{50 * 'é'}.png"]


def test_a_picture_that_cannot_be_saved_is_reported_after_the_others(test_part: Part, tool: Tool) -> None:
    """Predictions are printed even if no prepared picture can be saved, and each of these is named."""
    written(Path("photos"), test_part.images, "a.png", "b.png")
    Path("file").touch()
    code, output, errors = tool("predict", "photos", "--save", "file", "--json")
    assert (code, len(json.loads(output))) == (1, 2)
    expected = "cannot be written (File exists): free some space or fix the permissions."
    assert errors.splitlines() == [f"error: file/{name}.png {expected}" for name in ("1-a", "2-b")]


@pytest.mark.parametrize(
    ("place", "problem"), [("/dev/zero", "is not a file."), ("closed", "cannot be read: fix its permissions.")]
)
def test_a_place_that_cannot_be_read_spares_the_others(
    test_part: Part, tool: Tool, monkeypatch: pytest.MonkeyPatch, place: str, problem: str
) -> None:
    """A device, whose content may never end, and a folder without permission are named; all other pictures are read."""
    written(Path("photos"), test_part.images, "a.png")
    Path("closed").mkdir()
    # Permissions do not stop root, who may run the tests.
    for method in ("iterdir", "read_bytes"):
        monkeypatch.setattr(Path, method, _refused(getattr(Path, method)))
    code, output, errors = tool("predict", place, "photos", "--json")
    assert (code, [row["file"] for row in json.loads(output)]) == (1, ["photos/a.png"])
    assert errors == f"error: {place} {problem}\n"


def _refused(method: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A method of Path that raises what the system does for a folder without permission, called closed."""

    def checked(path: Path) -> Any:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return method(path)

    return checked
