"""The table of data sets: names, classes, sources and checksums."""

from dataclasses import dataclass

SIDE = 28
CLASS_COUNT = 10
# The size of the training set for which the counts of a split are stated.
FULL = 60_000
# The first validation images of every split, which all networks have in common: on these they are compared.
COMMON = 5_000
# The names of the IDX files: images and labels of each part.
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
NAMES = tuple(name for names in FILES.values() for name in names)


@dataclass(frozen=True)
class Dataset:
    """Images of ten classes in four IDX files.

    title: the name on pages. classes: the names of the classes, in the order of the labels. sources: folders and URLs
    with the files, in the order to try. compressed, uncompressed: the MD5 sums of both forms, in the order of NAMES;
    without sums of the second form, only compressed files are accepted, and every run of the stage fetches them again.
    """

    title: str
    classes: tuple[str, ...]
    sources: tuple[str, ...] = ()
    compressed: tuple[str, ...] = ()
    uncompressed: tuple[str, ...] = ()


def of_full(count: int, images: int) -> int:
    """A number of images that is stated for the full training set, for one of that size."""
    return round(count * min(1.0, images / FULL))


# Addresses, and MD5 sums of compressed files, are those in torchvision.
DATASETS = {
    "fashion_mnist": Dataset(
        title="Fashion-MNIST",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        sources=(
            # The official files in this repository, then Keras's copies.
            "data/fashion-mnist",
            "~/.keras/datasets/fashion-mnist",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        compressed=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        # Of the official files.
        uncompressed=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
    "mnist": Dataset(
        title="MNIST",
        classes=tuple("0123456789"),
        sources=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        compressed=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        # As stated in several public tools.
        uncompressed=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    "kmnist": Dataset(
        title="Kuzushiji-MNIST",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        sources=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        compressed=(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    # Made from scikit-learn's.
    "digits": Dataset(title="The digits of scikit-learn", classes=tuple("0123456789")),
}
