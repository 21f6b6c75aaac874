"""Where two folders first differ."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fashion.code.difference import first_difference

PATHS = ("history", "weights.safetensors", "scores.json", "picture.png")
LOSS = "step\tloss\n1\t0.5\n2\t0.25\n"


def folder(root: Path, **changes: str) -> Path:
    """A folder with files of all kinds, some of them changed."""
    texts = {"loss": LOSS, "summary": '{\n"step": 2\n}', "scores": "{\n\n}", "picture": "PNG", "weight": "1"} | changes
    (root / "history/plots").mkdir(parents=True)
    (root / "history/plots/loss.tsv").write_text(texts["loss"])
    (root / "history/a_summary.json").write_text(texts["summary"])
    (root / "scores.json").write_text(texts["scores"])
    (root / "picture.png").write_text(texts["picture"])
    weights = {"conv.bias": torch.zeros(2), "conv.weight": torch.full((2,), float(texts["weight"]))}
    save_file(weights, root / "weights.safetensors", {"header": texts.get("header", "")})
    return root


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"loss": LOSS.replace("0.25", "0.26"), "summary": "{}", "scores": "[]"}, "history/plots/loss.tsv, line 3"),
        ({"weight": "2", "header": "x", "scores": "[]"}, "weights.safetensors, conv.weight"),
        ({"header": "x"}, "weights.safetensors, header"),
        ({"scores": "{\n\n}\n", "picture": ""}, "scores.json, line 4"),
        ({"picture": ""}, "picture.png"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, changes: dict[str, str], expected: str) -> None:
    """In the order of the paths: the first epoch of a history, a tensor, the header around equal tensors, a line."""
    assert first_difference(folder(tmp_path / "one"), folder(tmp_path / "other", **changes), PATHS) == expected


def test_a_missing_file_is_a_difference(tmp_path: Path) -> None:
    """A file that one folder lacks is a difference, and so is one that both lack."""
    one, other = folder(tmp_path / "one"), folder(tmp_path / "other")
    (other / "history/plots/loss.tsv").unlink()
    assert first_difference(one, other, PATHS) == "history/plots/loss.tsv is missing on one side"
    assert first_difference(one, other, ["nothing"]) == "nothing is missing"
