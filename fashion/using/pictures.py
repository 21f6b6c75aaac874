"""Any picture of one item in the style of Fashion-MNIST: 28x28 pixels, grey, bright on black, centred, no margin.

The steps are those that made the data set (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747, section 2), without the
sharpening. Other numbers in this file were measured on its 60,000 training images.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from fashion.data.datasets import SIDE
from fashion.errors import FashionError

Grey = NDArray[np.uint8]
Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
# The longer side of the box around all pixels above 0 is 28 in 58,980 images, 27 in 999 and 26 in 21: no margin.
# A pixel this close to the background belongs to it: 5 % of the range, as in the paper.
CLOSE = 0.05 * 255
# Below this much of the range, parts of an item get lost, since they are as close to the background as noise is.
FAINT = 0.2 * 255
CUT = "item cut off at the edge"
# A value above the middle of the range is light.
MIDDLE = 127
# Larger pictures are first averaged down to this many pixels a side, which reduces a camera's noise.
LARGEST = 1000
# The most pixels of a picture: telephones take 64 million. Pillow warns above 89 million.
MOST = 65_000_000
# The background's surface starts at these quantiles of the border's values, and grows by these steps. The last ones are
# narrow, so that what is nearly like the background does not bend it.
STARTS = (0.1, 0.3, 0.5, 0.7, 0.9)
TOLERANCES = (*6 * [CLOSE], CLOSE / 2, *3 * [CLOSE / 4])
# Noise of a larger standard deviation is filtered. Of smaller noise, 90 % is below the last of TOLERANCES.
NOISY = 2
# The share of transparent pixels below which they are not the background: in a square, corners rounded with a fifth of
# its side have 3.4 %.
FEW = 0.05
# The least share of the edge that has the background's tone although an item fills its picture.
LEAST = 0.25
# The formats that Pillow decodes by itself; for others, such as EPS, it would start programs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def files(path: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, sorted, and the files that are skipped; a file itself, or a folder without images.

    A file is an image by its extension, or if it has none by its content. Hidden files are neither.
    """
    if not path.is_dir():
        return [path], []
    try:
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError:
        # Reading it as a picture reports why.
        return [path], []
    images = [file for file in inside if _is_image(file)]
    return images or [path], [file for file in inside if file not in images]


def _is_image(file: Path) -> bool:
    """Whether a file has the extension of an image, or has none and starts like an image."""
    if file.suffix:
        # Pillow reads MPO, a JPEG with more pictures behind the first, as JPEG.
        return Image.registered_extensions().get(file.suffix.lower()) in (*FORMATS, "MPO")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS):
            return True
    except Image.UnidentifiedImageError:
        return False
    except Exception:  # noqa: BLE001 - reading it reports what a decoder raises for damaged bytes
        return True


def read(path: Path) -> tuple[Grey, list[str]]:
    """The item in an image file, as `prepared` returns it; FashionError, naming the file, if there is none."""
    try:
        # Reading a device or a pipe may never end.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise FashionError("is not a file.")
        return prepared(_grey(path))
    except FashionError as error:
        problem = str(error)
    except FileNotFoundError:
        problem = "is not here: check its name."
    except IsADirectoryError:
        problem = "is a folder without images."
    except PermissionError:
        problem = "cannot be read: fix its permissions."
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        problem = f"has more than {MOST:,} pixels: make it smaller."
    except Image.UnidentifiedImageError:
        problem = f"is not an image in a supported format ({', '.join(FORMATS)}): save it as PNG or JPEG."
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything for damaged bytes
        problem = f"cannot be read ({getattr(error, 'strerror', None) or error}): save it again, as PNG or JPEG."
    raise FashionError(f"{path} {problem}")


def prepared(grey: Grey) -> tuple[Grey, list[str]]:
    """uint8 (height, width) -> uint8 (28, 28): each pixel's distance from the background, cropped, scaled and centred.

    With it comes what made the picture hard to read, in words. A 28x28 picture is assumed to be an image of the data
    set: it is inverted if its background is light, and otherwise stays as it is. Raises FashionError if nothing stands
    out from the background, or if too much of the border does.
    """
    noise = _noise(grey, _border(grey.shape))
    try:
        return _item(grey, noise)
    except FashionError:
        if (wider := _with_margin(grey)) is None:
            raise
    picture, hard = _item(wider, noise)
    return picture, [*hard, CUT]


def _item(grey: Grey, noise: float) -> tuple[Grey, list[str]]:
    """The same, of a picture with noise of that standard deviation and with a margin."""
    border = _border(grey.shape)
    values = (ndimage.median_filter(grey, 3) if noise > NOISY else grey).astype(np.float32)
    background = _surface(values, border)
    distance = _distance(values, background)
    if grey.shape == (SIDE, SIDE) and distance.any():
        return (255 - grey if np.median(background) > MIDDLE else grey), []
    rest = _without_other_tones(distance, values, border)
    item = _without_specks(rest)
    if not item.any():
        raise FashionError("shows nothing that stands out from its background.")
    uneven, several = np.ptp(background) > CLOSE, (rest < distance).any()
    cut = item[[0, -1]].any() or item[:, [0, -1]].any()
    # What touches the edge may then be background.
    if np.median(item[border]) or (cut and (uneven or several)):
        raise FashionError("has no plain background along its edge: photograph the item on one, with a margin.")
    hard = {
        "noise": noise > NOISY,
        "uneven light": uneven,
        "background of several tones": several,
        CUT: cut,
        "little contrast": item.max() < FAINT,
    }
    return _centred(_scaled(_cropped(item))), [note for note, true in hard.items() if true]


def png(picture: Grey) -> bytes:
    """A grey picture as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _grey(path: Path) -> Grey:
    """The pixels of an image file, upright, transparency replaced; both sides at most LARGEST."""
    with warnings.catch_warnings():
        # Ignore warnings about files that can be read, except that they have too many pixels.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # From bytes: of a rotated TIFF, Pillow 13 reads the rows of a file with the wrong length.
        with Image.open(io.BytesIO(path.read_bytes()), formats=FORMATS) as file:
            if file.width * file.height > MOST:
                raise Image.DecompressionBombError
            image, kind = ImageOps.exif_transpose(file), file.format
    # Pillow scales a 16-bit PGM to the whole range.
    wide = image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM")
    if image.mode in ("I", "F") and not wide:
        raise FashionError("has pixels of 32 bits, whose range is unknown: save it as PNG or JPEG.")
    if wide:
        image = _eight_bits(np.asarray(image))
    image = image.convert("LA" if image.has_transparency_data else "L")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return _opaque(*(np.asarray(band) for band in image.split()))


def _eight_bits(values: NDArray[np.integer[Any]]) -> Image.Image:
    """The upper 8 of the bits that a picture's values use: cameras write 10 or 12 bits into 16."""
    bits = max(8, int(values.max()).bit_length())
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8))


def _opaque(grey: Grey, alpha: Grey | None = None) -> Grey:
    """A picture without transparency: a few transparent pixels, as in rounded corners, become like the nearest others.

    If there are more, they are the background: black behind a light item, otherwise white.
    """
    if alpha is None:
        return grey
    if (alpha <= MIDDLE).mean() < FEW:
        nearest = ndimage.distance_transform_edt(alpha <= MIDDLE, return_distances=False, return_indices=True)
        near: Grey = grey[tuple(nearest)]
        return near
    share = alpha / np.float32(255)
    light = (grey * share).sum() > MIDDLE * share.sum()
    filled: Grey = np.rint(grey * share + (0 if light else 255) * (1 - share)).astype(np.uint8)
    return filled


def _with_margin(grey: Grey) -> Grey | None:
    """A picture that its item fills, with a margin of the background's tone: of a corner, and of LEAST of the edge.

    None if there is no such tone.
    """
    side = _side(grey.shape)
    ends = slice(side), slice(-side, None)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    corners = [np.median(grey[rows, columns]) for rows in ends for columns in ends]
    shares = [(np.abs(edge - tone) <= CLOSE).mean() for tone in corners]
    if max(shares) < LEAST:
        return None
    wider: Grey = np.pad(grey, side, constant_values=round(corners[np.argmax(shares)]))
    return wider


def _side(shape: tuple[int, ...]) -> int:
    """The width of a strip along the edge of a picture: 1/28 of its shorter side."""
    return max(1, min(shape) // SIDE)


def _border(shape: tuple[int, ...]) -> Mask:
    """The pixels in that strip."""
    side = _side(shape)
    border = np.ones(shape, bool)
    border[side:-side, side:-side] = False
    return border


def _noise(grey: Grey, border: Mask) -> float:
    """The standard deviation of the noise in the border, from the differences of neighbours."""
    steps = np.abs(np.diff(grey.astype(np.float32)))[border[:, 1:]]
    # The median of the differences of two normal values is 0.954 times their standard deviation.
    return float(np.median(steps)) / 0.954 if steps.size else 0.0


def _surface(values: Values, known: Mask) -> Values:
    """The quadratic surface that comes close to most of the known pixels, at all pixels.

    From each of STARTS it grows over the pixels that are close to it; others do not count.
    """
    height, width = values.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).astype(np.float32)
    step = 1 + known.sum() // 1000
    points, tones = terms[known][::step], values[known][::step]
    most, best = -1, np.zeros(terms.shape[-1], np.float32)
    for start in np.quantile(tones, STARTS):
        found = np.array([start, 0, 0, 0, 0, 0], np.float32)
        for tolerance in TOLERANCES:
            near = np.abs(points @ found - tones) <= tolerance
            found = np.linalg.lstsq(points[near], tones[near])[0]
        if near.sum() > most:
            most, best = near.sum(), found
    surface: Values = terms @ best
    return surface


def _distance(values: Values, background: Values) -> Values:
    """How much each pixel differs from the background, 0 if it is close to it.

    On a light background that is as a share of the light there.
    """
    distance: Values = np.abs(values - background)
    if np.median(background) > MIDDLE:
        distance *= background.max() / background.clip(1)
    distance[distance <= CLOSE] = 0
    return distance


def _without_other_tones(distance: Values, values: Values, border: Mask) -> Values:
    """The distance without other parts of the background, such as a floor, a frame or a bar.

    That is what reaches two corners of the picture, as far as it is close to a surface from the border inwards.
    """
    rest = distance.copy()
    # Two such parts, a floor in a frame for example, and one more.
    for _ in range(3):
        pieces, _ = ndimage.label(rest)
        corners = np.bincount(pieces[[0, 0, -1, -1], [0, -1, 0, -1]], minlength=2)[1:]
        if corners.max() <= 1:
            break
        piece = pieces == corners.argmax() + 1
        close = piece & (_distance(values, _surface(values, piece & border)) == 0)
        part = ndimage.binary_propagation(close & border, mask=close)
        # Its outline has tones between those of both sides.
        rest[ndimage.binary_dilation(part, iterations=1 + min(rest.shape) // 200)] = 0
    return rest


def _without_specks(distance: Values) -> Values:
    """The distance in the largest piece, and in others of at least 1/200 of it, about two pixels of 28x28."""
    pieces, _ = ndimage.label(distance, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    large: Values = distance * (sizes >= sizes[1:].max(initial=0) / 200)[pieces]
    return large


def _cropped(values: Values) -> Values:
    """The smallest rectangle that contains all values other than zero."""
    rows, columns = (np.flatnonzero(values.any(axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(item: Values) -> Grey:
    """The longer side becomes 28, the other in proportion; the brightest pixel becomes 255 (data set: 254 or 255)."""
    height, width = (max(1, round(side * SIDE / max(item.shape))) for side in item.shape)
    # Of Pillow's six filters this one costs `cnn` the least accuracy on enlarged validation images: half a point.
    small = np.asarray(Image.fromarray(item).resize((width, height), Image.Resampling.LANCZOS)).clip(0, item.max())
    bright: Grey = np.rint(small * (255 / small.max())).astype(np.uint8)
    return bright


def _centred(item: Grey) -> Grey:
    """In the middle of 28x28; an odd row goes above (11,293 of 11,972 cases), an odd column left (19,254 of 19,316)."""
    height, width = item.shape
    top, left = (SIDE - height + 1) // 2, (SIDE - width + 1) // 2
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + height, left : left + width] = item
    return picture
