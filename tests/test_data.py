"""Data: verified files come from the first source that has them, and splits never change."""

import gzip
import hashlib
import os
import re
import shutil
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from fashion.data import fetching
from fashion.data.datasets import COMMON, DATASETS, NAMES, Dataset, of_full
from fashion.data.fetching import fetch
from fashion.data.reading import Part, idx_bytes, read_idx, read_part, read_split
from fashion.data.splitting import split
from fashion.errors import FashionError
from fashion.files import write_bytes
from fashion.settings.params import Params
from tests.conftest import ROOT, Quiet, serving


def md5(content: bytes) -> str:
    """The checksum that is published with data sets."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with four small compressed files that replace fashion_mnist's; its other sources do not exist."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "published"
    folder.mkdir()
    rng = np.random.default_rng(0)
    shapes = [(20, 28, 28), (20,), (10, 28, 28), (10,)]
    contents = [idx_bytes(rng.integers(0, 10, shape, dtype=np.uint8)) for shape in shapes]
    packed = [gzip.compress(content, mtime=0) for content in contents]
    for name, content in zip(NAMES, packed, strict=True):
        (folder / f"{name}.gz").write_bytes(content)
    dataset = Dataset("Fashion", (), ("keras", "nowhere"), tuple(map(md5, packed)), tuple(map(md5, contents)))
    monkeypatch.setitem(DATASETS, "fashion_mnist", dataset)
    return folder


class Faulty(Quiet):
    """A web server that fails in the way that the first folder of the URL names."""

    def do_GET(self) -> None:  # noqa: N802 - the name in the base class
        """Send a faulty answer."""
        match fault := self.path.split("/")[1]:
            case "404" | "500":
                self.send_error(int(fault))
            case "silence":
                threading.Event().wait(2)
            case _:
                body = b"<html>Sign in to this network.</html>"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 1000 * (fault == "cut")))
                self.end_headers()
                self.wfile.write(body)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("404", "404 Client Error"),
        ("500", "500 Server Error"),
        ("silence", "timed out"),
        ("cut", "IncompleteRead(37 bytes read"),
        ("page", "hash"),
        ("http://127.0.0.1:9/", "refused"),
        ("/no/such/folder", "in /no/such/folder"),
        ("damaged", "MD5 sum"),
        # Experiments run in other folders.
        ("mirror", "in {}/mirror"),
        ("~/mirror", "Could not determine home directory."),
    ],
)
def test_a_source_that_fails_is_skipped(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, expected: str
) -> None:
    """If a source fails, the next one is used; without one the message names each cause; no partial file is left."""
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2 if fault == "silence" else 60)
    # pooch waits longer before each new attempt.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", dict[int, Any]().__getitem__)
    shutil.copytree(published, "damaged")
    Path("damaged", f"{NAMES[0]}.gz").write_bytes(b"wrong")
    with serving(Faulty) as address:
        source = f"{address}{fault}/" if re.fullmatch("[0-9]+|silence|cut|page", fault) else fault
        with pytest.raises(FashionError) as caught:
            list(fetch("fashion_mnist", Path("raw"), source))
        assert not Path("raw").exists()
        published.rename("keras")
        lines = list(fetch("fashion_mnist", Path("raw"), source))
    message, why = str(caught.value), re.escape(expected.format(tmp_path))
    causes = rf"{re.escape(source)} \(.*{why}.*\); keras \(.*\); nowhere \(.*\)"
    assert re.search(rf"{causes}\. Set FASHION_MNIST_MIRROR .*data\.dataset to digits", message), message
    assert "\n" not in message
    assert lines == [f"{name}: from {source if fault == 'damaged' and i else 'keras'}" for i, name in enumerate(NAMES)]
    assert sorted(path.name for path in Path("raw").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("place", "why"), [("raw", "No space left on device"), ("file", "File exists"), ("closed/raw", "Permission denied")]
)
def test_a_file_that_cannot_be_written_is_reported(
    published: Path, monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    """If a folder or a file cannot be written, the error names the file and the cause, and no part of it is left."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    Path("file").touch()
    Path("closed").mkdir(mode=0o500)
    if place == "closed/raw" and os.access("closed", os.W_OK):
        pytest.skip("root may write anywhere")
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(FashionError, match=rf"{place}/train-images-idx3-ubyte cannot be written \({why}\)"):
        list(fetch("fashion_mnist", Path(place), str(published)))
    assert not list(Path(place).glob("*"))


@pytest.mark.parametrize("packed", [b"cut off", gzip.compress(b"another program's")], ids=["damaged", "other"])
def test_a_wrong_compressed_file_hides_no_right_one(published: Path, packed: bytes) -> None:
    """A correct uncompressed file is taken from a folder whose compressed one is damaged, or of another program."""
    contents = {name: gzip.decompress((published / f"{name}.gz").read_bytes()) for name in NAMES}
    for name, content in contents.items():
        (published / f"{name}.gz").write_bytes(packed)
        (published / name).write_bytes(content)
    assert list(fetch("fashion_mnist", Path("raw"), str(published))) == [f"{name}: from {published}" for name in NAMES]
    assert {path.name: path.read_bytes() for path in Path("raw").iterdir()} == contents


@pytest.mark.parametrize("kind", ["compressed", "uncompressed", "url"])
def test_files_come_from_a_folder_or_a_url(published: Path, kind: str) -> None:
    """Files arrive uncompressed and readable; if fetched again, correct ones are kept, and wrong ones replaced."""
    contents = {name: gzip.decompress((published / f"{name}.gz").read_bytes()) for name in NAMES}
    with serving(partial(Quiet, directory=str(published))) as address:
        if kind == "uncompressed":
            for name, content in contents.items():
                (published / f"{name}.gz").unlink()
                (published / name).write_bytes(content)
        source = address if kind == "url" else str(published)
        assert list(fetch("fashion_mnist", Path("raw"), source)) == [f"{name}: from {source}" for name in NAMES]
        Path("raw", NAMES[1]).write_bytes(b"wrong")
        lines = list(fetch("fashion_mnist", Path("raw"), source))
    assert [line.split(": ")[1] for line in lines] == ["already here", f"from {source}", *["already here"] * 2]
    assert {path.name: path.read_bytes() for path in Path("raw").iterdir()} == contents
    assert read_part(Path("raw"), "train").images.shape == (20, 28, 28)


@pytest.mark.parametrize(
    ("name", "published"),
    [("fashion_mnist", datasets.FashionMNIST), ("mnist", datasets.MNIST), ("kmnist", datasets.KMNIST)],
)
def test_data_sets_are_torchvisions(name: str, published: type[datasets.MNIST]) -> None:
    """The URLs and checksums of the compressed files equal torchvision's, and the ten class names differ."""
    dataset = DATASETS[name]
    assert [(f"{file}.gz", md5) for file, md5 in zip(NAMES, dataset.compressed, strict=True)] == published.resources
    assert set(published.mirrors) <= set(dataset.sources)
    assert len(set(dataset.classes)) == 10


def test_digits_need_no_network(digits: Part) -> None:
    """Four fifths of scikit-learn's 1,797 digits are the training part: 28x28, every class, black background."""
    assert digits.images.shape == (1437, 28, 28)
    assert not digits.images[:, 0].any()
    assert digits.images.max() == 255
    assert np.bincount(digits.labels).min() > 130


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not an IDX file"),
        (b"\0\0\x08\x03" + b"\0\0\0\x02" * 3, "states shape"),
        (b"\0\0\x08\x03" + b"\xff\xff\xff\xff" * 3, "states shape"),
        (b"\0\0\x0d\x03" + b"\0\0\0\x01" * 3 + b"\0", "is not an IDX file"),
        (b"\0\0\x08\x01" + b"\0\0\0\x01" + b"\0", "is not an IDX file of 3 dimensions"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """A wrong magic number, and sizes that do not match the file's length, are refused."""
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(FashionError, match=expected):
        read_idx(path, 3)


@pytest.mark.parametrize(("labels", "expected"), [([1, 2, 10], "a label 10"), ([1, 2], "for 2 labels")])
def test_files_that_contradict_each_other_are_refused(tmp_path: Path, labels: list[int], expected: str) -> None:
    """Labels beyond 9, and fewer labels than images, are refused."""
    for name, array in zip(NAMES[:2], (np.zeros((3, 28, 28), np.uint8), np.array(labels, np.uint8)), strict=True):
        (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(FashionError, match=expected):
        read_part(tmp_path, "train")


@pytest.mark.parametrize(("train", "validation", "parts"), [(54_000, 6_000, (108, 12)), (20_000, 5_000, (40, 10))])
def test_a_split_is_stratified_and_disjoint(train: int, validation: int, parts: tuple[int, int]) -> None:
    """Sizes refer to 60,000 images; each class has its share of both parts; no image is in both; the seed decides."""
    labels = np.repeat(np.arange(10), 120)
    manifest, same, other = (split(labels, train, validation, seed) for seed in (0, 0, 1))
    counts = manifest.groupby("part")["label"].value_counts().to_dict()
    assert counts == {
        (part, one): n for part, n in zip(("train", "validation"), parts, strict=True) for one in range(10)
    }
    assert manifest["index"].is_unique
    assert (manifest["label"] == labels[manifest["index"]]).all()
    assert manifest.equals(same)
    assert not manifest.equals(other)


def test_smaller_parts_are_in_larger_ones(params: Params, digits: Part) -> None:
    """The validation images of every split start with those that all have in common; training images are nested, too.

    The classes of digits differ in size; each has its share of the images in common, to within one image.
    """
    manifests = [split(digits.labels, **one.model_dump()) for one in params.splits.values()]
    parts = [{part: list(rows["index"]) for part, rows in one.groupby("part")} for one in manifests]
    count = of_full(COMMON, len(digits.labels))
    assert count == 120
    common = parts[0]["validation"][:count]
    assert all(one["validation"][:count] == common for one in parts)
    for part in ("train", "validation"):
        by_size = sorted((set(one[part]) for one in parts), key=len)
        assert all(small <= large for small, large in pairwise(by_size))
    share = np.bincount(digits.labels) * count / len(digits.labels)
    assert np.abs(np.bincount(digits.labels[common]) - share).max() < 1


@pytest.mark.parametrize(("train", "validation"), [(54_000, 120), (120, 54_000)])
def test_a_split_that_is_too_small_is_reported(train: int, validation: int) -> None:
    """A part of two images is refused, since it cannot contain ten classes."""
    with pytest.raises(FashionError, match="each part must contain every class"):
        split(np.repeat(np.arange(10), 100), train, validation, seed=0)


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "index,label\n1,2\n", "index,label,part\n0,2,train\n0,2,validation\n"]
    + [f"index,label,part\n{index},2,train\n" for index in ("1.5", "5000", "-1", "99999999999999999999")],
)
def test_an_invalid_manifest_is_refused(digits: Part, tmp_path: Path, text: str) -> None:
    """Missing columns, and indices that are invalid or out of range, are refused with a message that names the file."""
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(FashionError, match=r"split\.csv is damaged"):
        read_split(tmp_path / "split.csv", digits)


def test_a_split_is_read_back_from_its_manifest(digits: Part, tmp_path: Path) -> None:
    """Reading a manifest gives the images of each part, in the manifest's order."""
    manifest = split(digits.labels, 48_000, 12_000, seed=0)
    manifest.to_csv(tmp_path / "split.csv", index=False)
    training, validation = read_split(tmp_path / "split.csv", digits)
    index = manifest.loc[manifest["part"] == "validation", "index"].to_numpy()
    assert np.array_equal(validation.images, digits.images[index])
    assert len(training.labels) + len(validation.labels) == len(digits.labels)


# SHA-256 sums of the manifests for Fashion-MNIST; they must never change.
PINNED = {
    "holdout_5k": "ce7f2cc105da181434196a2ef685535aa1a1dc09b29a9851b2094924e7d9f315",
    "holdout_6k": "0e684d7cd602db496a1bd657e1828b8f785fcad2ec4125079b268ea80ae24add",
    "holdout_12k": "7c6db6855d0d25c8385586f856b88415c19850d4d4e9a3e62f46083c75c2fd6f",
    "subset_20k": "890877b1b73e46c610cd7bd53f81f32d351090a462cdba69b32d72ca8c6be2d5",
}


def test_the_official_files_and_splits_never_change(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a mirror the files come from this repository and have their checksums; splits are as recorded."""
    monkeypatch.chdir(ROOT)
    for place in ("from data/fashion-mnist", "already here"):
        assert list(fetch("fashion_mnist", tmp_path, None)) == [f"{name}: {place}" for name in NAMES]
    labels = read_part(tmp_path, "train").labels
    manifests = {name: split(labels, **params.splits[name].model_dump()) for name in PINNED}
    texts = {name: table.to_csv(index=False, lineterminator="\n") for name, table in manifests.items()}
    assert {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()} == PINNED


def test_an_interrupt_after_the_renaming_is_not_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Ctrl-C comes when a file has its name, it ends the program, and the file is complete."""
    rename = Path.replace

    def interrupted(path: Path, target: Path) -> None:
        rename(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"content")]


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_have_the_permissions_that_the_user_chose(tmp_path: Path, umask: int, mode: int) -> None:
    """A new file, and one that replaces another, may be read and written by those whom the user's umask allows."""
    before = os.umask(umask)
    try:
        for _ in range(2):
            write_bytes(tmp_path / "file", b"content")
            assert (tmp_path / "file").stat().st_mode & 0o777 == mode
            (tmp_path / "file").chmod(0o640)
    finally:
        os.umask(before)
