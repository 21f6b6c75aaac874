"""Files with any content give a result or one sentence, never another error."""

import io
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save

from fashion.cli.advice import in_row, sentence
from fashion.data.reading import Part, read_idx, read_split
from fashion.errors import FashionError
from fashion.files import read_json, write_json, write_text
from fashion.frames import read_csv
from fashion.judging.evaluated import HISTORY, Scores
from fashion.judging.summaries import Ranked
from fashion.networks import weights
from fashion.networks.building import build, plan
from fashion.networks.hardware import choose
from fashion.networks.weights import load
from fashion.settings.description import Description, Layers
from fashion.settings.params import Params
from fashion.training import checkpoints
from fashion.using import pictures
from fashion.using.loading import fill
from tests.conftest import ROOT, ranked

TEXT = (ROOT / "params.yaml").read_text()
# Words that are more likely than noise to be valid settings.
WORDS = st.sampled_from(["", " ", "\n", ": ", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "|", "'", "#"])
WORDS |= st.sampled_from(["null", "true", "0", "-1", "1e9", ".nan", "10000000000000"])
WORDS |= st.sampled_from(["auto", "Linear", "kernel_size", "!!python/name:os "])
PIECES = WORDS | st.text(max_size=5) | st.integers().map(str) | st.floats().map(str)
# The position, the length of the text to remove, and its replacement.
CHANGES = st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 30), PIECES), min_size=1, max_size=4)


def report(path: Path, content: str) -> str:
    """The error about a params.yaml with that content, architectures included; empty if it is valid."""
    path.write_text(content, encoding="utf-8", errors="replace")
    try:
        for key, row in Params.load(path).models.items():
            with in_row(key):
                plan(row.layers)
    except ValidationError as error:
        return sentence(error)
    except FashionError as error:
        return str(error)
    return ""


@settings(max_examples=150, deadline=None, derandomize=True)
@given(CHANGES)
def test_any_settings_are_accepted_or_reported(changes: list[tuple[int, int, str]]) -> None:
    """A params.yaml with pieces replaced is valid, or one sentence states why it is not."""
    content = TEXT
    for start, length, piece in changes:
        content = content[:start] + piece + content[start + length :]
    with TemporaryDirectory() as folder:
        assert "\n" not in report(Path(folder, "params.yaml"), content)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 5000, "[" * 200_000, "{a: " * 5000, "- " * 20_000, "a: &a [*a]", "\0", "\ufeff", "? ", "- a\nb"),
        *("%YAML 9.9\n---\n", "a: !!binary =", "a: !!python/name:os.system ''", f"a: {'b' * 2**20}"),
    ],
    ids=range(13),
)
def test_extreme_settings_are_reported(tmp_path: Path, text: str) -> None:
    """Deep nesting, self-references and forbidden characters are reported in one sentence too."""
    assert re.fullmatch(r".*params\.yaml.* git restore params\.yaml", report(tmp_path / "params.yaml", text))


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    """The content, noise, and the content truncated, extended or with a piece replaced."""
    pieces = st.tuples(st.integers(0, len(content)), st.integers(0, 8), st.binary(max_size=8))
    changed = pieces.map(lambda piece: content[: piece[0]] + piece[2] + content[piece[0] + piece[1] :])
    truncated = st.integers(0, len(content)).map(lambda end: content[:end])
    return st.just(content) | st.binary(max_size=200) | truncated | changed


WHOLE = Params.load(ROOT / "params.yaml").describe("lenet5")
LAYERS: Layers = {"flatten": ("Flatten", {}), "logits": ("Linear", {"out_features": 10})}
SMALL = WHOLE.model_copy(update={"architecture": WHOLE.architecture.model_copy(update={"layers": LAYERS})})
STATE = build(LAYERS).state_dict()
WEIGHTS = weights.dumps(STATE, weights.header(SMALL, choose("cpu", SMALL.gpu).record()) | {"epoch": 1})


def picture(kind: str) -> bytes:
    """A small item on black as a file of that kind."""
    buffer = io.BytesIO()
    Image.fromarray(np.pad(np.arange(100, 200, dtype=np.uint8).reshape(10, 10), 5)).save(buffer, kind)
    return buffer.getvalue()


FOLDER = "training"
READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "idx": (b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + bytes(8), lambda path: read_idx(path, 3)),
    "split": (
        b"index,label,part\n0,0,train\n1,0,validation\n",
        lambda path: read_split(path, Part(np.zeros((5, 28, 28), np.uint8), np.zeros(5, np.int64))),
    ),
    "weights": (WEIGHTS, load),
    "foreign weights": (WEIGHTS, lambda path: fill(build(LAYERS), path, SMALL)),
    "plain weights": (save(STATE), lambda path: fill(build(LAYERS), path, SMALL)),
    "description": (SMALL.text.encode(), Description.read),
    "scores": ((ROOT / "metrics/evaluate/lenet5-0.json").read_bytes(), lambda path: read_json(path, Scores)),
    "leaderboard": (
        json.dumps({"lenet5": ranked("lenet5", 0.9)}).encode(),
        lambda path: read_json(path, dict[str, Ranked]),
    ),
    "history": ((ROOT / "metrics/history/lenet5-0.csv").read_bytes(), lambda path: read_csv(path, HISTORY)),
    # The checksum is also of the folder's name.
    "checkpoint": (
        b"saved" + sha256(f"{FOLDER}saved".encode()).digest(),
        lambda path: checkpoints.Checkpoint(path, str).read(),
    ),
    **{kind: (picture(kind), pictures.read) for kind in pictures.FORMATS},
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_any_bytes_are_read_or_reported(name: str, data: st.DataObject) -> None:
    """Every reader reads a whole file, and any other content too, or it raises one sentence that names the file."""
    whole, read = READERS[name]
    content = data.draw(mutations(whole))
    with TemporaryDirectory() as folder:
        path = Path(folder, FOLDER, "lenet5-0.safetensors")
        path.parent.mkdir()
        path.write_bytes(content)
        message = str(path)
        try:
            read(path)
        except FashionError as error:
            message = str(error)
    assert content != whole or message == str(path)
    assert str(path) in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"hidden": ["Linear", {"out_features": 10**12}], "logits": ["Linear", {"out_features": 10}]},
            "has 785,000,000,000,000 weights",
        ),
        ({"hidden": ["Linear", {"out_features": 10**6}], "logits": ["Linear", {"out_features": 10}]}, "other shapes"),
        ({"logits": ["Linear", {"out_features": 20}]}, "the last must give 10 values"),
        ({"logits": ["os.system", {}]}, "there is no layer"),
    ],
)
def test_a_description_is_not_trusted(tmp_path: Path, layers: dict[str, object], message: str) -> None:
    """Weights whose description is of another network, however large, are refused before memory is allocated."""
    header = weights.header(SMALL, choose("cpu", SMALL.gpu).record()) | {"epoch": 1}
    header["description"]["architecture"]["layers"] = {"flatten": ["Flatten", {}], **layers}
    path = tmp_path / "lenet5-0.safetensors"
    path.write_bytes(weights.dumps(STATE, header))
    with pytest.raises(FashionError, match=rf"lenet5-0\.safetensors contradicts its own description .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("scores", r'"shape": \[.*?\]', '"shape": 5', r"layers\.0\.shape"),
        ("scores", r'"interval": \[.*?\]', '"interval": [0.1, 0.2]', "train: .*accuracy and interval are not those of"),
        ("description", '"out_features": 10', '"out_features": 1e400', "is damaged .*Out of range"),
    ],
)
def test_values_that_make_no_sense_are_reported(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    """Scores of the wrong shape or outside their interval, and numbers that JSON reads as infinite, are damage."""
    content, read = READERS[name]
    path = tmp_path / "file.json"
    path.write_text(re.sub(old, new, content.decode(), count=1, flags=re.DOTALL))
    with pytest.raises(FashionError, match=message):
        read(path)


def test_half_a_surrogate_pair_is_written_as_an_escape(tmp_path: Path) -> None:
    """Text with what UTF-8 lacks, as JSON and YAML may have it, is written; in JSON it is read as it was."""
    write_text(tmp_path / "page.md", "a\ud800b")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "a\\ud800b"
    write_json(tmp_path / "name.json", {"name": "a\ud800b"})
    assert read_json(tmp_path / "name.json", dict[str, Any]) == {"name": "a\ud800b"}
