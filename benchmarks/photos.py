"""How often `predict` gives a photo the class that it gives the image itself, for each thing that a camera adds."""

import io
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn
from tqdm import tqdm

from fashion.data.datasets import CLASS_COUNT, SIDE
from fashion.data.reading import Labels, Part, read_part
from fashion.errors import FashionError
from fashion.files import write_json
from fashion.networks.inference import finite_logits
from fashion.settings.description import Pixels
from fashion.showing import markdown
from fashion.using.loading import trained
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


Case = Callable[[Grey, Tones], Image.Image]
MODELS = ("lenet5", "alexnet")
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
    return scene(image, tones.item, np.where(1 - share > (DOWN + 1) / 2, float(tones.background), tone))


def noisy(photo: Values, sigma: float) -> Values:
    """A photo with noise, the same in each."""
    return photo + np.random.default_rng(0).normal(0, sigma, photo.shape)


def with_speck(photo: Values, tone: float, row: int, column: int) -> Values:
    """A photo in which one pixel has another tone."""
    changed = photo.copy()
    changed[row, column] = tone
    return changed


def vignette(share: float) -> Values:
    """Light that falls off by that share from the middle to the corners, as the fourth power of a cosine does."""
    light: Values = (1 + (DOWN**2 + RIGHT**2) / 2 * ((1 - share) ** -0.5 - 1)) ** -2
    return light


def framed(photo: Values, tone: float, width: int) -> Values:
    """A photo inside a frame of that width."""
    inside: Values = np.pad(photo[width:-width, width:-width], width, constant_values=tone)
    return inside


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


def tight(photo: Image.Image, image: Grey) -> Image.Image:
    """A photo of that image, cropped to the item."""
    place = (HEIGHT - SIDE * TIMES) // 2, (WIDTH - SIDE * TIMES) // 2
    ends = [np.flatnonzero(image.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0)]
    (top, bottom), (left, right) = (start + TIMES * one for start, one in zip(place, ends, strict=True))
    return photo.crop((int(left), int(top), int(right), int(bottom)))


def without_background(photo: Image.Image, image: Grey) -> Image.Image:
    """A photo of that image in which all but the item is transparent."""
    mask = scene(image, 255, np.zeros((HEIGHT, WIDTH))) > SIDE / 2
    cutout = photo.convert("LA")
    cutout.putalpha(Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)))
    return cutout


def lit(light: Values) -> Case:
    """The case of a photo in that light, as a share of the light in the brightest place."""
    return lambda image, tones: grey(plain(image, tones) * light)


CASES: dict[str, Case] = {
    "nothing": lambda image, tones: grey(plain(image, tones)),
    "noise of 3 levels": lambda image, tones: grey(noisy(plain(image, tones), 3)),
    "noise of 10 levels": lambda image, tones: grey(noisy(plain(image, tones), 10)),
    "noise of 3 levels, as JPEG": lambda image, tones: jpeg(noisy(plain(image, tones), 3)),
    "noise of 10 levels, as JPEG": lambda image, tones: jpeg(noisy(plain(image, tones), 10)),
    "one pixel of 200 in a corner": lambda image, tones: grey(with_speck(plain(image, tones), 200, 0, 0)),
    "one pixel of 240": lambda image, tones: grey(with_speck(plain(image, tones), 240, 20, 560)),
    "one pixel of 100": lambda image, tones: grey(with_speck(plain(image, tones), 100, 20, 560)),
    "transparent rounded corners": lambda image, tones: cut(plain(image, tones), 40),
    "four transparent pixels, in the corners": lambda image, tones: cut(plain(image, tones), 0),
    "15 % less light at the right": lit(1 - 0.15 * (RIGHT + 1) / 2),
    "15 % less light below": lit(1 - 0.15 * (DOWN + 1) / 2),
    "15 % less light in a corner": lit(1 - 0.15 * (DOWN + RIGHT + 2) / 4),
    "15 % less light in all corners": lit(vignette(0.15)),
    "30 % less light at the right": lit(1 - 0.3 * (RIGHT + 1) / 2),
    "30 % less light below": lit(1 - 0.3 * (DOWN + 1) / 2),
    "30 % less light in a corner": lit(1 - 0.3 * (DOWN + RIGHT + 2) / 4),
    "30 % less light in all corners": lit(vignette(0.3)),
    "a frame of 1 pixel": lambda image, tones: grey(framed(plain(image, tones), tones.other, 1)),
    "a frame of 4 pixels": lambda image, tones: grey(framed(plain(image, tones), tones.other, 4)),
    "a floor 20 % darker than the wall": lambda image, tones: grey(
        floored(image, tones, 1 / 3, 0.8 * tones.background)
    ),
    "a bar at the lower edge": lambda image, tones: grey(floored(image, tones, 1 / 16, tones.other)),
    "no margin": lambda image, tones: tight(grey(plain(image, tones)), image),
    "a transparent background": lambda image, tones: without_background(grey(plain(image, tones)), image),
    "a transparent background, no margin": lambda image, tones: tight(
        without_background(grey(plain(image, tones)), image), image
    ),
    "12 bits in 16": lambda image, tones: deep(plain(image, tones), 12),
    "10 bits in 16": lambda image, tones: deep(plain(image, tones), 10),
    "20 % less light below, noise of 5 levels, one pixel of 128": lambda image, tones: grey(
        with_speck(noisy(plain(image, tones) * (0.9 - 0.1 * DOWN), 5), 128, 20, 560)
    ),
}


def photos(output: Path) -> None:
    """Measure, write the figures and print them."""
    kept: dict[str, dict[str, int]] = {case: {} for case in CASES}
    test = read_part(Path("data/raw"), "test")
    for key in MODELS:
        network, description, _ = trained(f"{key}-0")
        predicted = partial(_predicted, network, description.architecture.pixels)
        chosen = _kept(test, predicted)
        for case, tones in tqdm([*product(CASES, TONES)], f"photos for {key}", disable=None, leave=False):
            found = predicted(_tiles(case, tones, test.images[chosen]))
            kept[case][f"`{key}`, {tones}"] = int((found == test.labels[chosen]).sum())
    figures = {"photos": len(chosen), "kept": kept}
    write_json(output, figures)
    typer.echo(table(figures))


def _predicted(network: nn.Module, pixels: Pixels, tiles: Grey) -> Labels:
    """The class of each tile, or -1 of a black one: that photo was refused."""
    return np.where(tiles.any((1, 2)), finite_logits(network, tiles, pixels).argmax(1).numpy(), -1)


def _kept(test: Part, predicted: Callable[[Grey], Labels]) -> Labels:
    """The first EACH images of each class that are right, and stay so as photos to which nothing is added."""
    first = np.concatenate([np.flatnonzero(test.labels == label)[: 3 * EACH] for label in range(CLASS_COUNT)])
    photos = [test.images[first], *(_tiles("nothing", tones, test.images[first]) for tones in TONES)]
    right = first[np.all([predicted(tiles) == test.labels[first] for tiles in photos], axis=0)]
    return np.concatenate([right[test.labels[right] == label][:EACH] for label in range(CLASS_COUNT)])


def _tiles(case: str, tones: str, images: Grey) -> Grey:
    """What `predict` makes of the photos of these images."""
    return np.array([seen(CASES[case](image, TONES[tones])) for image in images])


def seen(photo: Image.Image) -> Grey:
    """What `predict` makes of a photo's PNG file, or a black picture if it refuses it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "photo.png")
        photo.save(path)
        try:
            return read(path)[0]
        except FashionError:
            return np.zeros((SIDE, SIDE), np.uint8)


def table(figures: dict[str, Any]) -> str:
    """Markdown: how many photos keep their class, for each case and each network on each background."""
    kept = figures["kept"]
    head = ["added", *kept["nothing"]]
    rows = [[case, *(str(count) for count in counts.values())] for case, counts in kept.items()]
    note = f"Of {figures['photos']} photos each; a refused photo counts as one that does not keep its class."
    return f"{markdown.table(head, rows, range(1, len(head)))}\n\n{note}"
