"""Fetch each of a data set's four files from the first source with a correct copy."""

import gzip
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fashion.data.datasets import DATASETS, NAMES
from fashion.data.reading import idx_bytes
from fashion.errors import FashionError
from fashion.files import md5, write_bytes

MIRROR = "FASHION_MNIST_MIRROR"
# Seconds to wait for a server's answer.
TIMEOUT = 30


class Wanted(NamedTuple):
    """A file: its uncompressed name, and the MD5 sums of both forms, the second if it is known."""

    name: str
    compressed: str
    uncompressed: str | None


def fetch(name: str, folder: Path, mirror: str | None) -> Iterator[str]:
    """Put a data set's four uncompressed files into a folder, and keep correct ones that are there.

    mirror: a folder or URL to try first. Yields a line for each file that says where it came from.
    Raises FashionError, naming every source and why it failed, if no source has a file.
    """
    if name == "digits":
        yield from _digits(folder)
        return
    dataset = DATASETS[name]
    sources = [*([mirror] if mirror else []), *dataset.sources]
    for file in map(Wanted, NAMES, dataset.compressed, dataset.uncompressed or [None] * len(NAMES)):
        target = folder / file.name
        if file.uncompressed and target.is_file() and md5(target.read_bytes()) == file.uncompressed:
            yield f"{file.name}: already here"
            continue
        content, source = _first(file, sources)
        write_bytes(target, content)
        yield f"{file.name}: from {source}"


def _first(file: Wanted, sources: list[str]) -> tuple[bytes, str]:
    """The uncompressed content from the first source with a correct copy, and that source."""
    failures = []
    for source in sources:
        read = _from_url if "://" in source else _from_folder
        try:
            return read(source, file), source
        # requests' errors are OSErrors; for a wrong MD5 sum pooch raises ValueError, for ~ without a home pathlib
        # raises RuntimeError.
        except (OSError, ValueError, RuntimeError) as error:
            failures.append(f"{source} ({_why(error)})")
    raise FashionError(
        f"no source has a correct {file.name}: {'; '.join(failures)}. Set {MIRROR} to a folder or URL that has the "
        "files, or set data.dataset to digits, which needs no network."
    )


def _why(error: Exception) -> str:
    """The cause in an error's message: for a failed connection its reason, without the names of urllib3's objects."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = str(reason or error).split("\n")[0]
    return re.sub(r"^HTTPS?Connection\w*\(.*?\): ", "", text)[:200]


def _from_folder(folder: str, file: Wanted) -> bytes:
    """The file's content, uncompressed, from a folder that has it compressed or uncompressed."""
    plain = Path(folder).expanduser() / file.name
    packed = plain.with_name(f"{file.name}.gz")
    wrong = []
    # One may be right although the other is damaged, or compressed by another program.
    for path, expected in ((plain, file.uncompressed), (packed, file.compressed)):
        if expected and path.is_file():
            content = path.read_bytes()
            if (found := md5(content)) == expected:
                return gzip.decompress(content) if path == packed else content
            wrong.append(f"{path.name}: MD5 sum {found} instead of {expected}")
    if wrong:
        raise ValueError("; ".join(wrong))
    # As an absolute path: dvc exp run --temp starts stages in another folder.
    raise FileNotFoundError(f"no {packed.name} in {plain.parent.absolute()}")


def _from_url(url: str, file: Wanted) -> bytes:
    """The file's content, uncompressed, from the compressed file on the web; tried three times."""
    # The caller reports what went wrong, once.
    pooch.get_logger().setLevel(logging.CRITICAL)
    name = f"{file.name}.gz"
    with tempfile.TemporaryDirectory() as folder:
        web = pooch.create(folder, f"{url.rstrip('/')}/", registry={name: f"md5:{file.compressed}"}, retry_if_failed=2)
        path = web.fetch(name, downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT))
        return gzip.decompress(Path(path).read_bytes())


def _digits(folder: Path) -> Iterator[str]:
    """scikit-learn's 8x8 digits: each pixel becomes 3x3, with a margin of 2; a stratified fifth is the test part."""
    images, labels = load_digits(return_X_y=True)
    grey = (images.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8)
    large = np.pad(grey.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    train_images, test_images, train_labels, test_labels = train_test_split(
        large, labels.astype(np.uint8), test_size=0.2, stratify=labels, random_state=0
    )
    for name, array in zip(NAMES, (train_images, train_labels, test_images, test_labels), strict=True):
        write_bytes(folder / name, idx_bytes(array))
        yield f"{name}: from scikit-learn"
