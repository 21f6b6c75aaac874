"""Any picture of one item in the style of Fashion-MNIST: 28x28 pixels, grey, bright on black, centred, no margin.

The steps are those that made the data set (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747, section 2), without the
sharpening. Other numbers in this file were measured on its 60,000 training images.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageStat

from fashion.data.datasets import SIDE
from fashion.errors import FashionError

Grey = NDArray[np.uint8]
Values = NDArray[np.float32]
# The longer side of the box around all pixels above 0 is 28 in 58,980 images, 27 in 999 and 26 in 21: no margin.
# A pixel this close to the background belongs to it: 5 % of the range, as in the paper.
CLOSE = 0.05 * 255
# A value above the middle of the range is light.
MIDDLE = 127
# Larger pictures are first averaged down to this many pixels a side, which reduces a camera's noise.
LARGEST = 1000
# The formats that Pillow decodes by itself; for others, such as EPS, it would start programs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def files(path: Path) -> list[Path]:
    """A file itself, or the images in a folder, by extension and sorted; the folder itself if it has none."""
    if not path.is_dir():
        return [path]
    formats = Image.registered_extensions()
    try:
        inside = [*path.iterdir()]
    except OSError:
        # Reading it as a picture reports why.
        return [path]
    images = (file for file in inside if formats.get(file.suffix.lower()) in FORMATS and file.is_file())
    return sorted(images) or [path]


def read(path: Path) -> Grey:
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
        problem = f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller."
    except Image.UnidentifiedImageError:
        problem = f"is not an image in a supported format ({', '.join(FORMATS)}): save it as one of these."
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything for damaged bytes
        problem = f"cannot be read ({getattr(error, 'strerror', None) or error}): save it again, as PNG or JPEG."
    raise FashionError(f"{path} {problem}")


def prepared(grey: Grey) -> Grey:
    """uint8 (height, width) -> uint8 (28, 28): each pixel's distance from the background, cropped, scaled and centred.

    A 28x28 picture is assumed to be an image of the data set: it is inverted if its background is light, and otherwise
    stays as it is. Raises FashionError if nothing stands out from the background.
    """
    background = _background(grey)
    distance = np.abs(grey - background)
    distance[distance <= CLOSE] = 0
    if not distance.any():
        raise FashionError("shows nothing that stands out from its background.")
    if grey.shape == (SIDE, SIDE):
        return 255 - grey if background > MIDDLE else grey
    return _centred(_scaled(_cropped(distance)))


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
            image, kind = ImageOps.exif_transpose(file), file.format
    # Pillow scales a 16-bit PGM to the whole range.
    wide = image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM")
    if image.mode in ("I", "F") and not wide:
        raise FashionError("has pixels of 32 bits, whose range is unknown: save it as PNG or JPEG.")
    if wide:
        # Pillow would cut off values above 255.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = _on_backdrop(image.convert("RGBA"))
    grey = image.convert("L")
    grey.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(grey)


def _on_backdrop(image: Image.Image) -> Image.Image:
    """An image with transparency, put on black if its visible part is light, otherwise on white."""
    grey, alpha = image.convert("L"), image.getchannel("A")
    light = ImageStat.Stat(grey, alpha).mean[0] > MIDDLE
    backdrop = Image.new("L", image.size, 0 if light else 255)
    backdrop.paste(grey, mask=alpha)
    return backdrop


def _background(grey: Grey) -> np.float32:
    """The median of the four corners, squares of 1/28 of the shorter side; at most 35.5 in the data set's images."""
    side = max(1, min(grey.shape) // SIDE)
    ends = slice(side), slice(-side, None)
    return np.float32(np.median([grey[rows, columns] for rows in ends for columns in ends]))


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
