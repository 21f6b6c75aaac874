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
from fashion.files import md5
from fashion.networks import weights
from fashion.networks.weights import load
from fashion.using.pictures import png, prepared
from tests.conftest import Tool, evaluated, inputs

WEIGHTS = Path("models/lenet5-0.safetensors")


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


def test_pictures_get_the_networks_probabilities(test_part: Part, tool: Tool) -> None:
    """Each file of a folder has its classes in descending order, with labels, names and the network's probabilities."""
    large = np.pad(np.kron(255 - test_part.images[0], np.ones((9, 9), np.uint8)), 40, constant_values=255)
    tiles = [prepared(large)[0], *test_part.images[1:250]]
    written(Path("tiles"), [large, *tiles[1:]], *(f"{number:03}.png" for number in range(250)))
    code, output, errors = tool("predict", "tiles", "--json", "--top", "10")
    rows = json.loads(output)
    assert (code, errors) == (0, "")
    assert [row["file"] for row in rows] == [f"tiles/{number:03}.png" for number in range(250)]
    for row, wanted in zip(rows, probabilities(np.array(tiles)), strict=True):
        assert [one["label"] for one in row["classes"]] == np.argsort(-wanted).tolist()
        assert [one["name"] for one in row["classes"]] == [str(one["label"]) for one in row["classes"]]
        assert [one["probability"] for one in row["classes"]] == pytest.approx(np.sort(wanted)[::-1], abs=2e-6)


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


def test_hard_pictures_are_named(test_part: Part, tool: Tool) -> None:
    """What made a picture hard is in a column, which is absent if none was hard, and always in the JSON."""
    large = np.pad(np.kron(test_part.images[0], np.ones((9, 9), np.uint8)), 40)
    written(Path(), [large[160:], large], "cut.png", "easy.png")
    rows = json.loads(tool("predict", "cut.png", "easy.png", "--json")[1])
    assert [row["hard"] for row in rows] == [["item cut off at the edge"], []]
    head, cut, easy = tool("predict", "cut.png", "easy.png")[1].splitlines()
    assert (head.split()[-1], cut[-25:].strip()) == ("hard", "item cut off at the edge")
    assert easy.rstrip().endswith("%")
    assert "hard" not in tool("predict", "easy.png")[1]


def test_skipped_files_are_named(test_part: Part, tool: Tool) -> None:
    """Files of a folder that are not read are counted, and the first five named, without an error."""
    written(Path("mixed"), test_part.images, "a.png")
    for number in range(6):
        Path(f"mixed/{number}.heic").touch()
    expected = "skipped 6 files of mixed without a supported format: 0.heic, 1.heic, 2.heic, 3.heic, 4.heic, ..."
    code, _, errors = tool("predict", "mixed")
    assert (code, errors.strip()) == (0, expected)


def test_what_cannot_be_read_is_reported_after_the_others(
    test_part: Part, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is reported in a sentence each, the others are still shown, and the exit code is 1."""
    written(Path("mixed"), test_part.images, "a.png", "m.png", "z.png")
    Path("mixed/m.png").write_bytes(b"")
    Path("empty").mkdir()
    Path("closed").mkdir()
    # Permissions do not stop root, who may run the tests.
    for method in ("iterdir", "read_bytes"):
        monkeypatch.setattr(Path, method, refused(getattr(Path, method)))
    # A device's content may never end.
    places = ("nowhere.png", "empty", "closed", "/dev/zero")
    code, output, errors = tool("predict", "mixed", *places, "--json")
    assert (code, [row["file"] for row in json.loads(output)]) == (1, ["mixed/a.png", "mixed/z.png"])
    first, second, *others = errors.splitlines()
    assert first.startswith("error: mixed/m.png is not an image")
    assert second.startswith("error: nowhere.png is not here")
    assert others == [
        "error: empty is a folder without images.",
        "error: closed cannot be read: fix its permissions.",
        "error: /dev/zero is not a file.",
    ]
    # If nothing can be read, the JSON is an empty list, and there is no table.
    assert tool("predict", *places, "--json")[:2] == (1, "[]\n")
    assert tool("predict", *places)[:2] == (1, "")


def refused(method: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A method of Path that raises what the system does for a folder without permission, called closed."""

    def checked(path: Path) -> Any:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return method(path)

    return checked


def test_prepared_pictures_are_saved(test_part: Part, tool: Tool) -> None:
    """--save writes what the network sees, numbered and with short names, and replaces no photo in the same folder.

    Predictions are printed even if no picture can be saved, and each of these is named.
    """
    written(Path("one"), 255 - test_part.images, "same.png")
    written(Path("two"), [255 - test_part.images[0]] * 3, f"{240 * 'a'}.png", "same.png", f"{70 * 'é'}.png")
    photo = Path("one/same.png").read_bytes()
    assert tool("predict", "one", "two", "--save", "one")[0] == 0
    assert Path("one/same.png").read_bytes() == photo
    saved = sorted({path.name for path in Path("one").iterdir()} - {"same.png"})
    assert saved == ["1-same.png", f"2-{50 * 'a'}.png", "3-same.png", f"4-{50 * 'é'}.png"]
    for name in saved:
        assert np.array_equal(np.asarray(Image.open(f"one/{name}")), test_part.images[0])
    Path("file").touch()
    code, output, errors = tool("predict", "two", "--save", "file", "--json")
    assert (code, len(json.loads(output)), len(errors.splitlines())) == (1, 3, 3)
    assert "error: file/2-same.png cannot be written (File exists): free some space or fix the permissions.\n" in errors


NAMES = {b"\xff.png": "\ufffd.png", b"[red]\x1b[31m.png": "[red]\ufffd[31m.png", b"a\nb.png": "a\ufffdb.png"}


@pytest.mark.parametrize("name", [*NAMES, "Schürze.png".encode()])
@pytest.mark.parametrize("tile", [True, False])
def test_any_name_can_be_shown(test_part: Part, tool: Tool, name: bytes, tile: bool) -> None:
    """Names with invalid text, markup or control characters are shown in one line each, and exactly in JSON."""
    file = os.fsdecode(name)
    Path(file).write_bytes(png(test_part.images[0]) if tile else b"")
    code, output, errors = tool("predict", file)
    assert (code, len(output.splitlines()), len(errors.splitlines())) == ((0, 2, 0) if tile else (1, 0, 1))
    assert NAMES.get(name, file) in output + errors
    assert [row["file"] for row in json.loads(tool("predict", file, "--json")[1])] == ([file] if tile else [])


def test_missing_weights_are_reported(inside: Path, tool: Tool) -> None:
    """Without weights the message says how to get them."""
    (inside / "shirt.png").touch()
    expected = (
        "error: models/alexnet-0.safetensors is not here: "
        "dvc repro models/dvc.yaml:train@alexnet-0 trains it, dvc pull models/dvc.yaml:train@alexnet-0 fetches it."
    )
    assert tool("predict", "shirt.png", "--model", "alexnet") == (1, "", expected)


def test_weights_of_another_training_are_refused(test_part: Part, tool: Tool) -> None:
    """Weights under another training's name, and those with the classes in another order, give no prediction."""
    written(Path(), test_part.images, "tile.png")
    content = WEIGHTS.read_bytes()
    Path("models/cnn-0.safetensors").write_bytes(content)
    errors = tool("predict", "tile.png", "--model", "cnn")[2]
    assert errors.startswith("error: models/cnn-0.safetensors contradicts its own description (it is of lenet5-0): tra")
    tensors, header = weights.read(WEIGHTS)
    WEIGHTS.write_bytes(weights.dumps(tensors, header | {"classes": [*"9876543210"]}))
    assert "(its classes are not those of its data set): train it again" in tool("predict", "tile.png")[2]


def test_weights_that_changed_after_their_evaluation_are_refused(test_part: Part, tool: Tool) -> None:
    """One bit that flips in the weights' file is found by the sum that its scores have; without scores it counts."""
    written(Path(), test_part.images, "tile.png")
    description, content = load(WEIGHTS)[1], WEIGHTS.read_bytes()
    for identity, sum_of, code in (
        (description.identity, md5(content), 0),
        (description.identity, md5(content[::-1]), 1),
        ("of older settings", md5(content[::-1]), 0),
    ):
        evaluated("lenet5-0", test_part.labels, test_part.labels, training=identity, weights=sum_of)
        assert tool("predict", "tile.png")[0] == code
    evaluated("lenet5-0", test_part.labels, test_part.labels, training=description.identity, weights=md5(content))
    WEIGHTS.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert tool("predict", "tile.png") == (
        1,
        "",
        "error: models/lenet5-0.safetensors is not the file that was evaluated: "
        "run dvc repro models/dvc.yaml:evaluate@lenet5-0.",
    )


@pytest.mark.parametrize("classes", [None, ["a"], [1] * 10, "0123456789", {"a": 1}, [*"0123456789"]])
def test_weights_without_class_names_or_numbers_are_reported(test_part: Part, tool: Tool, classes: object) -> None:
    """If the weights' header does not name ten classes, or weights contain NaN, there is no prediction."""
    tensors, header = weights.read(WEIGHTS)
    tensors["conv1.bias"][0] = float("nan")
    WEIGHTS.write_bytes(weights.dumps(tensors, header | {"classes": classes}))
    written(Path(), test_part.images, "tile.png")
    expected = "error: models/lenet5-0.safetensors is not a weights file of this project (classes"
    if classes == [*"0123456789"]:
        expected = "error: these weights give logits that are NaN or infinite: train them again."
    code, output, errors = tool("predict", "tile.png", "--json")
    assert (code, output, errors[: len(expected)]) == (1, "", expected)
