"""Data: verified files come from the first source that has them, and splits never change."""

import gzip
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from fashion.data import fetching
from fashion.data.datasets import DATASETS, NAMES, Dataset
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
    folder = tmp_path / "published"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = [(20, 28, 28), (20,), (10, 28, 28), (10,)]
    compressed, uncompressed = [], []
    for name, shape in zip(NAMES, arrays, strict=True):
        content = idx_bytes(rng.integers(0, 10, shape, dtype=np.uint8))
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        compressed.append(md5(packed))
        uncompressed.append(md5(content))
    sources = (str(tmp_path / "keras"), str(tmp_path / "nowhere"))
    dataset = Dataset("Fashion", (), sources, tuple(compressed), tuple(uncompressed))
    monkeypatch.setitem(DATASETS, "fashion_mnist", dataset)
    return folder


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    """The URL of a web server that serves the published files."""
    with serving(partial(Quiet, directory=str(published))) as address:
        yield address


class Faulty(BaseHTTPRequestHandler):
    """A web server that fails in the way that the first folder of the URL names."""

    def do_GET(self) -> None:
        """Send a faulty answer."""
        match fault := self.path.split("/")[1]:
            case "404" | "500":
                self.send_error(int(fault))
            case "silence":
                threading.Event().wait(2)
            case _:
                page = b"<html>Sign in to this network.</html>"
                body = {"page": page, "noise": bytes(range(256)), "cut": page, "nothing": b""}[fault]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 1000 * (fault == "cut")))
                self.end_headers()
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Write no log."""


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("404", "404 Client Error"),
        ("500", "500 Server Error"),
        ("silence", "timed out"),
        ("cut", "IncompleteRead(37 bytes read"),
        ("page", "hash"),
        ("noise", "hash"),
        ("nothing", "hash"),
        ("unreachable", "refused"),
        ("no folder", "in /no/such/folder"),
    ],
)
def test_a_source_that_fails_is_skipped(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, expected: str
) -> None:
    """If a source fails, the next one is used; without one the message names the cause; no partial file is left."""
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2 if fault == "silence" else 60)
    # pooch waits longer before each new attempt.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    raw = tmp_path / "raw"
    with serving(Faulty) as address:
        source = {"unreachable": "http://127.0.0.1:9/", "no folder": "/no/such/folder"}.get(fault, f"{address}{fault}/")
        with pytest.raises(FashionError) as caught:
            list(fetch("fashion_mnist", raw, source))
        (tmp_path / "keras").symlink_to(published)
        lines = list(fetch("fashion_mnist", raw, source))
    message = str(caught.value)
    assert re.search(f"{re.escape(source)} \\(.*{re.escape(expected)}.*\\); .*keras", message), message
    assert "FASHION_MNIST_MIRROR" in message
    assert "\n" not in message
    assert lines == [f"{name}: from {tmp_path / 'keras'}" for name in NAMES]
    assert sorted(path.name for path in raw.iterdir()) == sorted(NAMES)


def test_a_full_disk_leaves_no_partial_file(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file cannot be written, the error names it, and no part of the file is left."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(FashionError, match=r"train-images-idx3-ubyte cannot be written \(No space left on device\)"):
        list(fetch("fashion_mnist", tmp_path / "raw", str(published)))
    assert list((tmp_path / "raw").iterdir()) == []


@pytest.mark.parametrize(("place", "why"), [("file/raw", "Not a directory"), ("closed/raw", "Permission denied")])
def test_a_folder_that_cannot_be_written_is_reported(published: Path, tmp_path: Path, place: str, why: str) -> None:
    """If the folder cannot be created, the error names the file and the cause."""
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    if place.startswith("closed") and os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(FashionError, match=rf"train-images-idx3-ubyte cannot be written \({why}\)"):
        list(fetch("fashion_mnist", tmp_path / place, str(published)))


def test_files_come_from_a_folder(published: Path, tmp_path: Path) -> None:
    """A mirror folder's compressed files arrive uncompressed and readable."""
    lines = list(fetch("fashion_mnist", tmp_path / "raw", str(published)))
    assert lines == [f"{name}: from {published}" for name in NAMES]
    assert read_part(tmp_path / "raw", "train").images.shape == (20, 28, 28)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == sorted(NAMES)


def test_uncompressed_files_are_accepted_too(published: Path, tmp_path: Path) -> None:
    """A mirror folder with uncompressed files gives the same files."""
    list(fetch("fashion_mnist", tmp_path / "first", str(published)))
    list(fetch("fashion_mnist", tmp_path / "second", str(tmp_path / "first")))
    assert all((tmp_path / "second" / n).read_bytes() == (tmp_path / "first" / n).read_bytes() for n in NAMES)


def test_files_come_from_a_url(server: str, tmp_path: Path) -> None:
    """Compressed files from a mirror URL arrive uncompressed and readable."""
    assert list(fetch("fashion_mnist", tmp_path / "raw", server)) == [f"{name}: from {server}" for name in NAMES]
    assert read_part(tmp_path / "raw", "test").labels.shape == (10,)


def test_correct_files_are_kept(published: Path, tmp_path: Path) -> None:
    """Correct files are kept, and wrong ones are fetched again."""
    raw = tmp_path / "raw"
    list(fetch("fashion_mnist", raw, str(published)))
    (raw / NAMES[1]).write_bytes(b"wrong")
    lines = list(fetch("fashion_mnist", raw, str(published)))
    assert [line.split(": ")[1] for line in lines] == ["already here", f"from {published}", *["already here"] * 2]


def test_a_bad_file_comes_from_the_next_source(published: Path, server: str, tmp_path: Path) -> None:
    """A file that is bad in the first source comes from the next one, and the others still come from the first."""
    keras = tmp_path / "keras"
    keras.mkdir()
    for name in NAMES:
        (keras / f"{name}.gz").write_bytes((published / f"{name}.gz").read_bytes())
    (published / f"{NAMES[2]}.gz").write_bytes(b"<html>no such file</html>")
    lines = list(fetch("fashion_mnist", tmp_path / "raw", server))
    assert lines[2] == f"{NAMES[2]}: from {keras}"
    assert lines[3] == f"{NAMES[3]}: from {server}"


def test_without_a_source_every_failure_is_reported(published: Path, tmp_path: Path) -> None:
    """One sentence names each source, the cause of its failure and the fix, and no file is left."""
    (published / f"{NAMES[0]}.gz").write_bytes(b"wrong")
    with pytest.raises(FashionError) as caught:
        list(fetch("fashion_mnist", tmp_path / "raw", str(published)))
    message = str(caught.value)
    for expected in (str(published), "MD5 sum", "keras", "nowhere", "FASHION_MNIST_MIRROR", "data.dataset to digits"):
        assert expected in message
    assert "\n" not in message
    assert not (tmp_path / "raw").exists()


def test_every_data_set_has_ten_classes() -> None:
    """Each data set has ten different class names."""
    assert {name: len(set(dataset.classes)) for name, dataset in DATASETS.items()} == dict.fromkeys(DATASETS, 10)


@pytest.mark.parametrize(
    ("name", "published"),
    [("fashion_mnist", datasets.FashionMNIST), ("mnist", datasets.MNIST), ("kmnist", datasets.KMNIST)],
)
def test_data_sets_are_torchvisions(name: str, published: type[datasets.MNIST]) -> None:
    """The URLs and checksums of the compressed files equal torchvision's."""
    dataset = DATASETS[name]
    assert dict(zip(NAMES, dataset.compressed, strict=True)) == {
        file.removesuffix(".gz"): md5 for file, md5 in published.resources
    }
    assert set(published.mirrors) <= set(dataset.sources)


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


def test_a_split_is_stratified_disjoint_and_complete() -> None:
    """Each class has the same share in both parts, and every image is in exactly one part."""
    labels = np.repeat(np.arange(10), 100)
    manifest = split(labels, train=54_000, validation=6_000, seed=0)
    assert manifest["index"].tolist() == list(range(1000))
    counts = manifest.groupby(["part", "label"]).size().unstack()
    assert (counts.loc["train"] == 90).all()
    assert (counts.loc["validation"] == 10).all()
    assert (manifest["label"] == labels).all()


def test_a_subset_leaves_images_out() -> None:
    """Sizes refer to 60,000 images, so 20,000 and 5,000 become a third and a twelfth of a smaller data set."""
    manifest = split(np.repeat(np.arange(10), 120), train=20_000, validation=5_000, seed=0)
    assert manifest["part"].value_counts().to_dict() == {"train": 400, "validation": 100}
    assert manifest["index"].is_unique


def test_the_seed_determines_the_split() -> None:
    """The same seed gives the same split, and another seed another one."""
    labels = np.repeat(np.arange(10), 100)
    one, same, other = (split(labels, 54_000, 6_000, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)


@pytest.mark.parametrize("validation", [120, 5_880])
def test_a_split_that_is_too_small_is_reported(validation: int) -> None:
    """Two images for validation, or two images left over, are refused, since they cannot contain ten classes."""
    with pytest.raises(FashionError, match="each part, and the images left over"):
        split(np.repeat(np.arange(10), 100), train=54_000, validation=validation, seed=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "index,label\n1,2\n",
        "index,label,part\n1.5,2,train\n",
        "index,label,part\n5000,2,train\n",
        "index,label,part\n-1,2,train\n",
        "index,label,part\n99999999999999999999,2,train\n",
        "index,label,part\n0,2,train\n0,2,validation\n",
        "<html>",
    ],
)
def test_an_invalid_manifest_is_refused(digits: Part, tmp_path: Path, text: str) -> None:
    """Missing columns, and indices that are invalid or out of range, are refused with a message that names the file."""
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(FashionError, match=r"split\.csv is damaged"):
        read_split(tmp_path / "split.csv", digits)


def test_a_split_is_read_back_from_its_manifest(digits: Part, tmp_path: Path) -> None:
    """Reading a manifest gives the images of each part, in the training set's order."""
    manifest = split(digits.labels, 48_000, 12_000, seed=0)
    manifest.to_csv(tmp_path / "split.csv", index=False)
    training, validation = read_split(tmp_path / "split.csv", digits)
    index = manifest.loc[manifest["part"] == "validation", "index"].to_numpy()
    assert np.array_equal(validation.images, digits.images[index])
    assert len(training.labels) + len(validation.labels) == len(digits.labels)


# SHA-256 sums of the manifests, for the labels 0 to 9 repeated and for the real labels; they must never change.
PINNED = {
    "holdout_5k": (
        "f7de4bda9364a84335b8b21a9ed5b118faf72e05f3f98901f25080239bb4dae1",
        "a8c9dbf4bb612b8c7e2b2c2c7820aa5f6190d300addd3784deadd4c5c1f8a70c",
    ),
    "holdout_6k": (
        "754e5646b9a5ba566c9a08f41ee54692c7273fe1b64b377818f15fca1377b1c8",
        "d52f1e497684e95cb545e766e19d9c047207d1ac151fd5f953da258561520304",
    ),
    "holdout_12k": (
        "fd5153f109fbb565dd5ad0972326660558a5c95203a7739b4628dd427c81f8b6",
        "c0bceb6acbc16c5120cfad4a6dc071d129ca6d31b9df2f8951a129454a4ac579",
    ),
    "subset_20k": (
        "f891e7d4325e1e252ce494afef6719778d458043e75fea173593fcc47aaa8c1f",
        "48d2fba84bc00392c0c9ed760ba7aad955607d57c21d75af71a2b2668ee430fa",
    ),
}


def manifest_sum(params: Params, name: str, labels: NDArray[np.int64]) -> str:
    """The SHA-256 sum of a split's manifest."""
    manifest = split(labels, **params.splits[name].model_dump())
    return hashlib.sha256(manifest.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


@pytest.mark.parametrize("name", PINNED)
def test_splits_never_change(params: Params, name: str) -> None:
    """For synthetic labels every split has its recorded checksum, whatever the libraries' versions."""
    assert manifest_sum(params, name, np.tile(np.arange(10), 6_000)) == PINNED[name][0]


@pytest.mark.parametrize("name", PINNED)
def test_the_published_splits_never_change(params: Params, real: Path, tmp_path: Path, name: str) -> None:
    """For Fashion-MNIST's labels every split is the one behind the committed results."""
    list(fetch("fashion_mnist", tmp_path, str(real)))
    assert manifest_sum(params, name, read_part(tmp_path, "train").labels) == PINNED[name][1]


def test_the_official_files_are_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mirror the four files come from this repository and have the recorded checksums."""
    monkeypatch.chdir(ROOT)
    lines = list(fetch("fashion_mnist", tmp_path, None))
    assert lines == [f"{name}: from data/fashion-mnist" for name in NAMES]
    sums = {name: md5((tmp_path / name).read_bytes()) for name in NAMES}
    assert sums == dict(zip(NAMES, DATASETS["fashion_mnist"].uncompressed, strict=True))
    assert np.bincount(read_part(tmp_path, "train").labels).tolist() == [6_000] * 10
    assert np.bincount(read_part(tmp_path, "test").labels).tolist() == [1_000] * 10


@pytest.mark.usefixtures("published")
def test_a_relative_mirror_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a relative folder has no files, the message says where it was looked for: experiments run in other folders."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionError, match=re.escape(f"mirror (no train-images-idx3-ubyte.gz in {tmp_path}/mirror)")):
        list(fetch("fashion_mnist", tmp_path / "raw", "mirror"))


@pytest.mark.usefixtures("published")
def test_a_missing_home_is_one_more_source_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder, a source in it is skipped with a reason."""
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", dict[int, Any]().__getitem__)
    with pytest.raises(FashionError, match=r"~/mirror \(Could not determine home directory\.\)"):
        list(fetch("fashion_mnist", tmp_path / "raw", "~/mirror"))


def test_an_interrupt_after_the_renaming_is_not_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Ctrl-C arrives when the file has its name, it ends the program as such, and the file is complete."""
    rename = Path.replace

    def interrupted(path: Path, target: Path) -> None:
        rename(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"content")]


def test_everybody_may_read_a_written_file(tmp_path: Path) -> None:
    """A file can be read by all users, whatever the process's mask, so that colleagues can share a folder."""
    before = os.umask(0o077)
    try:
        write_bytes(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
