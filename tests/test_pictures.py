"""Pictures in the style of the data set: what does not matter, where items are placed, and what is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fashion.data.datasets import SIDE
from fashion.data.fetching import fetch
from fashion.data.reading import Part, read_part
from fashion.errors import FashionError
from fashion.using.pictures import Grey, files, prepared, read

# The corners of an ankle boot in a square of 100.
BOOT = [(20, 10), (55, 10), (55, 55), (85, 65), (90, 85), (18, 85)]


def drawn(item: Any, background: Any, mode: str = "L", size: tuple[int, int] = (300, 200), at: int = 1) -> Image.Image:
    """A boot on a plain background, in a square of 100 pixels that lies `at` pixels down and right."""
    image = Image.new(mode, size, background)
    ImageDraw.Draw(image).polygon([(x + at, y + at) for x, y in BOOT], fill=item)
    return image


def grey(image: Image.Image) -> Grey:
    """A picture's pixels."""
    return np.asarray(image.convert("L"))


def saved(folder: Path, image: Image.Image, ending: str = "png", **options: Any) -> Path:
    """The file of a picture."""
    path = folder / f"picture.{ending}"
    image.save(path, **options)
    return path


EXPECTED = prepared(grey(drawn(255, 0)))


def box(picture: Grey) -> tuple[int, int, int, int]:
    """The first and the last row and column that are not black."""
    rows, columns = (np.flatnonzero(picture.any(axis)) for axis in (1, 0))
    return rows[0], rows[-1], columns[0], columns[-1]


def test_a_tile_stays_as_it_is(digits: Part) -> None:
    """An image of a data set stays unchanged, and its negative becomes the image."""
    for tile in digits.images:
        assert np.array_equal(prepared(tile), tile)
        assert np.array_equal(prepared(255 - tile), tile)


def test_a_tile_of_fashion_mnist_stays_as_it_is(real: Path, tmp_path: Path) -> None:
    """Every twentieth training image stays unchanged, including those that reach into corners."""
    list(fetch("fashion_mnist", tmp_path, str(real)))
    for tile in read_part(tmp_path, "train").images[::20]:
        assert np.array_equal(prepared(tile), tile)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
def test_a_tiles_file_may_have_any_mode(digits: Part, tmp_path: Path, mode: str) -> None:
    """A tile saved as grey, as colour, with an alpha channel or with 16 bits is read as the same tile."""
    tile = digits.images[0]
    image = Image.fromarray(tile.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(tile).convert(mode)
    assert image.mode == mode
    assert np.array_equal(read(saved(tmp_path, image)), tile)


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tiff", "ppm", "webp"])
def test_lossless_formats_give_the_same_picture(tmp_path: Path, ending: str) -> None:
    """The same pixels in any lossless format give the same picture."""
    options = {"lossless": True} if ending == "webp" else {}
    assert np.array_equal(read(saved(tmp_path, drawn(255, 0), ending, **options)), EXPECTED)


def test_a_photos_compression_hardly_matters(tmp_path: Path) -> None:
    """A JPEG of usual quality with 1,200x800 pixels gives the same shape, except for a few pixels at its edge."""
    photo = drawn((40, 60, 90), (240, 238, 235), "RGB").resize((1200, 800))
    picture = read(saved(tmp_path, photo, "jpg", quality=80))
    assert ((picture > 127) != (EXPECTED > 127)).mean() < 0.03


@pytest.mark.parametrize(("item", "background"), [(0, 255), (255, 0), (90, 250), (60, 140), (200, 130), (250, 20)])
def test_the_background_does_not_matter(item: int, background: int) -> None:
    """The same item gives the same picture on light, dark and grey backgrounds."""
    assert np.array_equal(prepared(grey(drawn(item, background))), EXPECTED)


def test_brightness_is_the_difference_from_the_background() -> None:
    """A striped picture and its negative give the same, and the stripe that is closer to the background is darker."""
    striped = drawn(200, 0)
    ImageDraw.Draw(striped).rectangle([30, 30, 45, 80], fill=100)
    picture = prepared(grey(striped))
    assert np.array_equal(prepared(255 - grey(striped)), picture)
    assert picture[14, 6] == pytest.approx(255 / 2, abs=5)


@pytest.mark.parametrize(
    ("item", "background"),
    [((180, 20, 40), (250, 250, 250)), ((250, 240, 90), (10, 10, 30)), ((0, 90, 0), (240, 200, 200))],
)
def test_colours_become_grey(item: tuple[int, int, int], background: tuple[int, int, int]) -> None:
    """A coloured item on a coloured background gives the picture of its shape."""
    assert np.array_equal(prepared(grey(drawn(item, background, "RGB"))), EXPECTED)


@pytest.mark.parametrize("item", [(20, 30, 40, 255), (250, 250, 250, 255)])
@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (255, 255, 255, 0), (255, 0, 255, 0)])
def test_transparency_is_background(tmp_path: Path, item: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    """On a transparent background both dark and white items are seen, whatever colour the transparent pixels have."""
    assert np.array_equal(read(saved(tmp_path, drawn(item, hidden, "RGBA"))), EXPECTED)


def test_a_transparent_colour_is_background(tmp_path: Path) -> None:
    """A colour that a palette declares transparent is background."""
    image = drawn(1, 0, "P")
    image.putpalette([250, 250, 250, 255, 255, 255])
    assert np.array_equal(read(saved(tmp_path, image, transparency=0)), EXPECTED)


@pytest.mark.parametrize("at", [0, 7, 100])
def test_the_place_of_an_item_does_not_matter(at: int) -> None:
    """An item anywhere in a picture of any size gives the same result."""
    assert np.array_equal(prepared(grey(drawn(255, 0, size=(330 + at, 230), at=at))), EXPECTED)


def test_an_enlarged_shape_is_restored() -> None:
    """A tile of black and white pixels, enlarged and surrounded by margins, becomes the same tile."""
    tile = EXPECTED > 127
    large = np.pad(np.kron(tile, np.ones((12, 12), np.uint8)) * 255, ((30, 50), (70, 20))).astype(np.uint8)
    assert np.array_equal(prepared(large) > 127, tile)


@pytest.mark.parametrize("times", [2, 3, 12])
def test_the_size_of_a_picture_hardly_matters(tmp_path: Path, times: int) -> None:
    """An enlarged picture, even beyond the size to which pictures are first reduced, gives nearly the same."""
    large = drawn(255, 0).resize((300 * times, 200 * times), Image.Resampling.NEAREST)
    assert np.abs(read(saved(tmp_path, large)).astype(int) - EXPECTED).mean() < 3


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 100, (0, 27, 0, 27)),
        (200, 100, (0, 27, 7, 20)),
        (100, 200, (7, 20, 0, 27)),
        # 28 by 16.8, rounded to 17: six of the remaining 11 columns are on the left.
        (50, 30, (0, 27, 6, 22)),
        (30, 50, (6, 22, 0, 27)),
        # Smaller than a tile, and thinner than one of its pixels.
        (7, 14, (7, 20, 0, 27)),
        (500, 2, (0, 27, 14, 14)),
    ],
)
def test_an_item_fills_the_tile(height: int, width: int, expected: tuple[int, int, int, int]) -> None:
    """The longer side takes all 28 pixels, the other one its share, centred, and the brightest pixel is 255."""
    image = np.full((height + 30, width + 50), 240, np.uint8)
    image[10 : 10 + height, 20 : 20 + width] = 30
    picture = prepared(image)
    assert picture.shape == (SIDE, SIDE)
    assert picture.dtype == np.uint8
    assert box(picture) == expected
    assert picture.max() == 255


def test_a_cameras_noise_hardly_matters(tmp_path: Path) -> None:
    """A large photo whose noise has a standard deviation of 2 % of the range gives nearly the same shape."""
    large = grey(drawn(40, 200).resize((3000, 2000), Image.Resampling.NEAREST))
    noisy = (large + np.random.default_rng(0).normal(0, 5, large.shape)).astype(np.uint8)
    picture = read(saved(tmp_path, Image.fromarray(noisy)))
    assert ((picture > 127) != (EXPECTED > 127)).mean() < 0.03


def test_what_is_close_to_the_background_is_background() -> None:
    """Noise of 5 % of the range leaves neither margins nor grey around the item."""
    noise = np.random.default_rng(0).integers(-12, 13, (200, 300))
    noise[:20, :20] = noise[:20, -20:] = noise[-20:, :20] = noise[-20:, -20:] = 0
    noisy = np.where(grey(drawn(255, 0)) > 0, 20, 230 + noise).astype(np.uint8)
    assert np.array_equal(prepared(noisy) > 0, EXPECTED > 0)


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_put_upright(tmp_path: Path, orientation: int, ending: str) -> None:
    """The orientation that a photo's file states is undone."""
    undoing = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = drawn(255, 0)
    if orientation in undoing:
        stored = stored.transpose(undoing[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read(saved(tmp_path, stored, ending, exif=exif)), EXPECTED)


def forged(width: int, height: int) -> bytes:
    """A PNG whose header states this size and whose data has other pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not an image in a supported format"),
        (b"what is this", "is not an image in"),
        # Pillow would start Ghostscript.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n", "is not an image in"),
        (forged(300, 300), "cannot be read"),
        (forged(0, 0), "is not an image"),
        (forged(10_000, 10_000), "has more than 89,478,485 pixels"),
        (forged(30_000, 30_000), "has more than 89,478,485 pixels"),
        (forged(2**31 - 1, 2**31 - 1), "has more than 89,478,485 pixels"),
    ],
)
def test_what_is_not_an_image_is_reported(tmp_path: Path, content: bytes, expected: str) -> None:
    """Empty, foreign, damaged and excessively large files are refused in one sentence with the file's name."""
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(FashionError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "tiff", "webp", "bmp"])
def test_a_truncated_file_is_reported(tmp_path: Path, ending: str) -> None:
    """A truncated file is refused, whatever its format."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), ending)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FashionError, match=rf"picture\.{ending} cannot be read \(.*\): save it again"):
        read(path)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (300, 200), 255),
        Image.new("L", (28, 28), 0),
        Image.new("L", (1, 1), 70),
        Image.new("RGBA", (50, 50), (9, 9, 9, 0)),
    ],
)
def test_an_empty_picture_is_reported(tmp_path: Path, image: Image.Image) -> None:
    """A picture of one colour, which shows no item, is refused."""
    with pytest.raises(FashionError, match=r"picture\.png shows nothing that stands out from its background"):
        read(saved(tmp_path, image))


def test_a_pgm_of_16_bits_is_read(tmp_path: Path) -> None:
    """A PGM file with two bytes a pixel gives the same picture as one with one byte, whatever its largest value."""
    pixels = grey(drawn(255, 0))
    for largest in (65535, 1000):
        wide = (pixels.astype(np.uint32) * largest // 255).astype(">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 300 200 %d\n" % largest + wide.tobytes())
        assert np.array_equal(read(tmp_path / "a.pgm"), EXPECTED)


def test_pixels_of_unknown_range_are_reported(tmp_path: Path) -> None:
    """Floating-point pixels are refused, since the value of white is unknown."""
    image = Image.fromarray(np.random.default_rng(0).random((40, 40)).astype(np.float32))
    with pytest.raises(FashionError, match="pixels of 32 bits, whose range is unknown"):
        read(saved(tmp_path, image, "tiff"))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """A missing file and a folder without images are reported."""
    with pytest.raises(FashionError, match=r"shirt\.png is not here"):
        read(tmp_path / "shirt.png")
    with pytest.raises(FashionError, match="is a folder without images"):
        read(tmp_path)


def test_a_folder_stands_for_its_images(tmp_path: Path) -> None:
    """A folder stands for the images in it, in the order of their names, and a file stands for itself."""
    for name in ("b.png", "a.JPG", "c.webp", "readme.txt", "data.csv", "10.gif"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in files(tmp_path)] == ["10.gif", "a.JPG", "b.png", "c.webp"]
    assert files(tmp_path / "readme.txt") == [tmp_path / "readme.txt"]
    assert files(tmp_path / "folder.png") == [tmp_path / "folder.png"]
