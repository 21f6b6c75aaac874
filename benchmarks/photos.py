"""How often `predict` gives a photo the class that it gives the image itself, for each thing that a camera adds."""

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fashion.data.datasets import SIDE
from fashion.data.reading import read_part
from fashion.errors import FashionError
from fashion.files import write_json
from fashion.networks.inference import finite_logits
from fashion.networks.weights import load, trained
from fashion.showing import markdown
from fashion.using.pictures import Grey, read

Values = NDArray[np.float64]
# Images of each class; the photo's height and width, and how many of its pixels a pixel of the image takes in each.
EACH, HEIGHT, WIDTH, TIMES = 6, 480, 600, 12
# Places in the photo, from -1 to 1: down and to the right.
DOWN, RIGHT = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]


class Tones(NamedTuple):
    """Greys of a photo, from 0 to 255: of the background, of the item where it is brightest, of a frame and a bar."""

    background: int
    item: int
    other: int


TONES = {"dark on light": Tones(230, 30, 90), "light on dark": Tones(25, 225, 160)}


def scene(image: Grey, item: float, background: Values) -> Values:
    """An image of the data set, enlarged smoothly, in the middle of a background (height, width)."""
    side = SIDE * TIMES
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
    rows, columns = (HEIGHT - side) // 2, (WIDTH - side) // 2
    share = np.pad(large, ((rows, HEIGHT - side - rows), (columns, WIDTH - side - columns)))
    return background + (item - background) * share


def plain(image: Grey, tones: Tones) -> Values:
    """The photo to which a camera adds nothing."""
    return scene(image, tones.item, np.full((HEIGHT, WIDTH), float(tones.background)))


def floored(image: Grey, tones: Tones, share: float, tone: float) -> Values:
    """The item in front of a background whose lower share has another tone."""
    return scene(image, tones.item, np.where(DOWN > 1 - 2 * share, tone, float(tones.background)))


def noisy(photo: Values, sigma: float) -> Values:
    """A photo with noise, the same in each."""
    return photo + np.random.default_rng(0).normal(0, sigma, photo.shape)


def with_speck(photo: Values, tone: float, row: int, column: int) -> Values:
    """A photo in which one pixel has another tone."""
    return np.where((np.arange(HEIGHT)[:, None] == row) & (np.arange(WIDTH) == column), tone, photo)


def vignette(share: float) -> Values:
    """Light that falls off by that share from the middle to the corners, as the fourth power of a cosine does."""
    return (1 + (DOWN**2 + RIGHT**2) / 2 * ((1 - share) ** -0.5 - 1)) ** -2


def framed(photo: Values, tone: float, width: int) -> Values:
    """A photo inside a frame of that width."""
    return np.pad(photo[width:-width, width:-width], width, constant_values=tone)


def grey(photo: Values) -> Image.Image:
    """A photo as a picture of 8 bits."""
    return Image.fromarray(np.rint(photo).clip(0, 255).astype(np.uint8))


def jpeg(photo: Values) -> Image.Image:
    """What JPEG leaves of a photo."""
    buffer = io.BytesIO()
    grey(photo).save(buffer, "JPEG", quality=85)
    return Image.open(buffer)


def deep(photo: Values, bits: int) -> Image.Image:
    """A photo with so many bits, in a picture of 16 bits."""
    return Image.fromarray(np.rint(photo.clip(0, 255) / 255 * (2**bits - 1)).astype(np.uint16))


def cut(photo: Values, radius: int) -> Image.Image:
    """A photo whose corners are transparent: rounded, or with radius 0 only the pixels in the corners."""
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), radius, fill=255)
    if not radius:
        for corner in ((0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)):
            mask.putpixel(corner, 0)
    image = grey(photo).convert("LA")
    image.putalpha(mask)
    # What is transparent often has the colour black.
    return Image.composite(image, Image.new("LA", image.size), mask)


CASES: dict[str, Callable[[Grey, Tones], Image.Image]] = {
    "nothing": lambda image, tones: grey(plain(image, tones)),
    "noise, sigma 3": lambda image, tones: grey(noisy(plain(image, tones), 3)),
    "noise, sigma 10": lambda image, tones: grey(noisy(plain(image, tones), 10)),
    "noise, sigma 3, as JPEG": lambda image, tones: jpeg(noisy(plain(image, tones), 3)),
    "noise, sigma 10, as JPEG": lambda image, tones: jpeg(noisy(plain(image, tones), 10)),
    "one pixel of 200 in a corner": lambda image, tones: grey(with_speck(plain(image, tones), 200, 0, 0)),
    "one pixel of 240": lambda image, tones: grey(with_speck(plain(image, tones), 240, 20, 560)),
    "one pixel of 100": lambda image, tones: grey(with_speck(plain(image, tones), 100, 20, 560)),
    "transparent rounded corners": lambda image, tones: cut(plain(image, tones), 40),
    "four transparent pixels in the corners": lambda image, tones: cut(plain(image, tones), 0),
    **{
        f"light that falls off by {share} %, {name}": lambda image, tones, share=share, slope=slope: grey(
            plain(image, tones) * (1 - share / 100 * (slope + 1) / 2)
        )
        for share in (15, 30)
        for name, slope in {"to the right": RIGHT, "down": DOWN, "diagonally": (RIGHT + DOWN) / 2}.items()
    },
    **{
        f"light that falls off by {share} %, to the corners": lambda image, tones, share=share: grey(
            plain(image, tones) * vignette(share / 100)
        )
        for share in (15, 30)
    },
    **{
        f"a frame of {width} pixels": lambda image, tones, width=width: grey(
            framed(plain(image, tones), tones.other, width)
        )
        for width in (1, 4)
    },
    "a floor that is 20 % darker": lambda image, tones: grey(floored(image, tones, 1 / 3, 0.8 * tones.background)),
    "a bar at the lower edge": lambda image, tones: grey(floored(image, tones, 1 / 16, tones.other)),
    "12 bits in 16": lambda image, tones: deep(plain(image, tones), 12),
    "10 bits in 16": lambda image, tones: deep(plain(image, tones), 10),
    "light by 20 %, noise, one pixel": lambda image, tones: grey(
        with_speck(noisy(plain(image, tones) * (0.9 - 0.1 * DOWN), 5), 128, 20, 560)
    ),
}
