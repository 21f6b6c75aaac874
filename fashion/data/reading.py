"""Images and labels as arrays: from IDX files, and as a split divides them."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fashion.data.datasets import CLASS_COUNT, FILES, SIDE
from fashion.errors import FashionError
from fashion.files import damaged
from fashion.frames import read_csv

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Images, uint8 of shape (n, 28, 28) with 0 the background, and their labels, int64 of shape (n,)."""

    images: NDArray[np.uint8]
    labels: Labels

    def take(self, index: NDArray[np.int64]) -> "Part":
        """The images and labels at these indices, in that order."""
        return Part(self.images[index], self.labels[index])


def read_part(folder: Path, part: Literal["train", "test"]) -> Part:
    """Read the training or the test images; FashionError if a file is damaged, or the two contradict each other."""
    image_file, label_file = (folder / name for name in FILES[part])
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if images.shape != (len(labels), SIDE, SIDE):
        raise FashionError(f"{image_file} has images of shape {images.shape} for {len(labels)} labels: fetch it again.")
    if labels.max(initial=0) >= CLASS_COUNT:
        raise FashionError(f"{label_file} has a label {labels.max()}, and labels are 0 to 9: fetch it again.")
    return Part(images, labels.astype(np.int64))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes; FashionError if its header does not match its length."""
    content = path.read_bytes()
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes([0, 0, 8, dimensions]):
        raise FashionError(f"{path} is not an IDX file of {dimensions} dimensions: fetch it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    # math.prod does not overflow, so a forged header cannot match a small file.
    if len(content) - start != math.prod(shape):
        raise FashionError(f"{path} states shape {shape} and has {len(content) - start} bytes of data: fetch it again.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array of unsigned bytes as the content of an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def read_split(path: Path, train: Part) -> tuple[Part, Part]:
    """The training and the validation part of the training images, as a split's manifest (a CSV file) lists them.

    Raises FashionError if the file is not a manifest, or does not fit these images.
    """
    manifest = read_csv(path, {"index": "int64", "label": "int64", "part": "str"})
    index, parts = manifest["index"].to_numpy(), manifest["part"].to_numpy()
    fits = len(index) and index.min() >= 0 and index.max() < len(train.labels) and len(np.unique(index)) == len(index)
    if not fits or not np.array_equal(train.labels[index], manifest["label"]):
        raise damaged(path, "it is not a split of these images")
    if {*parts} != {"train", "validation"}:
        raise damaged(path, "its parts are not train and validation")
    return train.take(index[parts == "train"]), train.take(index[parts == "validation"])
