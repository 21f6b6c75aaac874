"""Pictures in the style of the data set: what does not matter, where items are placed, and what is refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.photos import CASES, DOWN, RIGHT, TONES, Tones, Values, framed, noisy, plain, with_speck
from benchmarks.photos import grey as as_grey
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


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(folder: Path, content: bytes) -> Grey:
    """What is read from a file with that content."""
    path = folder / "photo"
    path.write_bytes(content)
    return read(path)[0]


EXPECTED, _ = prepared(grey(drawn(255, 0)))
# A photo of it.
PHOTO = plain(EXPECTED, TONES["dark on light"])


def test_a_tile_stays_as_it_is(digits: Part, real: Path, tmp_path: Path) -> None:
    """An image of a data set stays unchanged, even if it reaches into corners, and its negative becomes the image."""
    list(fetch("fashion_mnist", tmp_path, str(real)))
    for tile in (*digits.images, *read_part(tmp_path, "train").images[::20]):
        assert np.array_equal(prepared(tile)[0], tile)
    for tile in digits.images:
        assert np.array_equal(prepared(255 - tile)[0], tile)


def test_a_photos_noise_and_compression_hardly_matter(tmp_path: Path) -> None:
    """A photo as JPEG, or with noise of 2 % of the range, gives the same shape, except for a few pixels at its edge."""
    photo = drawn((40, 60, 90), (240, 238, 235), "RGB").resize((1200, 800))
    large = grey(drawn(40, 200).resize((3000, 2000), Image.Resampling.NEAREST))
    noisy = (large + np.random.default_rng(0).normal(0, 5, large.shape)).astype(np.uint8)
    for content in (encoded(photo, "JPEG", quality=80), encoded(Image.fromarray(noisy))):
        assert ((opened(tmp_path, content) > 127) != (EXPECTED > 127)).mean() < 0.03


GREY = [(0, 255), (255, 0), (90, 250), (60, 140), (200, 130), (250, 20)]
COLOURS = [((180, 20, 40), (250, 250, 250)), ((250, 240, 90), (10, 10, 30)), ((0, 90, 0), (240, 200, 200))]
ITEMS, HIDDEN = [(20, 30, 40, 255), (250, 250, 250, 255)], [(0, 0, 0, 0), (255, 255, 255, 0), (255, 0, 255, 0)]
PALETTE = drawn(1, 0, "P")
PALETTE.putpalette([250, 250, 250, 255, 255, 255])


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(drawn(item, background)) for item, background in GREY),
        *(encoded(drawn(item, background, "RGB")) for item, background in COLOURS),
        *(encoded(drawn(item, hidden, "RGBA")) for item in ITEMS for hidden in HIDDEN),
        encoded(PALETTE, transparency=0),
        *(encoded(drawn(255, 0, size=(330 + at, 230), at=at)) for at in (0, 7, 100)),
        *(encoded(drawn(255, 0), kind) for kind in ("BMP", "GIF", "TIFF", "PPM")),
        encoded(drawn(255, 0), "WEBP", lossless=True),
        *(encoded(drawn(255, 0).convert(mode)) for mode in ("RGB", "RGBA", "LA")),
        encoded(Image.fromarray(grey(drawn(255, 0)).astype(np.uint16) * 257)),
    ],
    ids=range(28),
)
def test_background_place_mode_and_format_do_not_matter(tmp_path: Path, content: bytes) -> None:
    """An item gives the same picture on any plain or transparent background, anywhere, in any lossless form."""
    assert np.array_equal(opened(tmp_path, content), EXPECTED)


def test_brightness_is_the_difference_from_the_background() -> None:
    """A striped picture and its negative give the same, and the stripe that is closer to the background is darker."""
    striped = drawn(200, 0)
    ImageDraw.Draw(striped).rectangle([30, 30, 45, 80], fill=100)
    picture, _ = prepared(grey(striped))
    assert np.array_equal(prepared(255 - grey(striped))[0], picture)
    assert picture[14, 6] == pytest.approx(255 / 2, abs=5)


def test_an_enlarged_shape_is_restored() -> None:
    """A tile of black and white pixels, enlarged and surrounded by margins, becomes the same tile."""
    tile = EXPECTED > 127
    large = np.pad(np.kron(tile, np.ones((12, 12), np.uint8)) * 255, ((30, 50), (70, 20))).astype(np.uint8)
    assert np.array_equal(prepared(large)[0] > 127, tile)


@pytest.mark.parametrize("times", [2, 3, 12])
def test_the_size_of_a_picture_hardly_matters(tmp_path: Path, times: int) -> None:
    """An enlarged picture, even beyond the size to which pictures are first reduced, gives nearly the same."""
    large = drawn(255, 0).resize((300 * times, 200 * times), Image.Resampling.NEAREST)
    assert np.abs(opened(tmp_path, encoded(large)).astype(int) - EXPECTED).mean() < 3


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
    picture, _ = prepared(image)
    assert (picture.shape, picture.max()) == ((SIDE, SIDE), 255)
    assert picture.dtype == np.uint8
    rows, columns = (np.flatnonzero(picture.any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == expected


def test_what_is_close_to_the_background_is_background() -> None:
    """Noise of 5 % of the range leaves neither margins nor grey around the item."""
    noise = np.random.default_rng(0).integers(-12, 13, (200, 300))
    noise[:20, :20] = noise[:20, -20:] = noise[-20:, :20] = noise[-20:, -20:] = 0
    noisy = np.where(grey(drawn(255, 0)) > 0, 20, 230 + noise).astype(np.uint8)
    assert np.array_equal(prepared(noisy)[0] > 0, EXPECTED > 0)


TURN = Image.Transpose
# What undoes the orientations 2 to 8.
TURNS = [TURN.FLIP_LEFT_RIGHT, TURN.ROTATE_180, TURN.FLIP_TOP_BOTTOM, TURN.TRANSPOSE]
TURNS += [TURN.ROTATE_90, TURN.TRANSVERSE, TURN.ROTATE_270]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_put_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    """The orientation that a photo's file states is undone."""
    stored, exif = drawn(255, 0), Image.Exif()
    exif[0x0112] = orientation
    if orientation > 1:
        stored = stored.transpose(TURNS[orientation - 2])
    assert np.array_equal(opened(tmp_path, encoded(stored, kind, exif=exif)), EXPECTED)


def forged(width: int, height: int) -> bytes:
    """A PNG whose header states this size and whose data has other pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


NOISE = np.random.default_rng(0)
HALVES = [
    encoded(Image.fromarray(NOISE.integers(0, 256, (90, 90), dtype=np.uint8)), kind)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
]
EMPTY = [Image.new("L", (300, 200), 255), Image.new("L", (28, 28), 0), Image.new("L", (1, 1), 70)]
EMPTY += [Image.new("RGBA", (50, 50), (9, 9, 9, 0))]
FLOATS = Image.fromarray(NOISE.random((40, 40)).astype(np.float32))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not an image in a supported format"),
        (b"what is this", "is not an image in"),
        # Pillow would start Ghostscript.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n", "is not an image in"),
        (forged(300, 300), "cannot be read"),
        (forged(0, 0), "is not an image"),
        *((forged(side, side), "has more than 65,000,000 pixels") for side in (9_000, 10_000, 30_000, 2**31 - 1)),
        *((content[: len(content) // 2], r"cannot be read \(.*\): save it again") for content in HALVES),
        *((encoded(image), "shows nothing that stands out from its background") for image in EMPTY),
        # The value of white is unknown.
        (encoded(FLOATS, "TIFF"), "has pixels of 32 bits, whose range is unknown"),
    ],
    ids=range(20),
)
def test_what_shows_no_item_is_reported(tmp_path: Path, content: bytes, expected: str) -> None:
    """Empty, foreign, truncated and very large files, and pictures of one colour, are refused in one sentence."""
    with pytest.raises(FashionError, match=f"^{tmp_path}/photo {expected}") as caught:
        opened(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def items(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Grey:
    """Test images: a boot, a pullover and trousers."""
    folder = tmp_path_factory.mktemp("raw")
    list(fetch("fashion_mnist", folder, str(real)))
    return read_part(folder, "test").images[:3]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tones", TONES.values(), ids=TONES)
def test_what_a_camera_adds_hardly_matters(items: Grey, tmp_path: Path, case: str, tones: Tones) -> None:
    """With noise, specks, uneven light, a frame, a floor and the like, photos give nearly what clean ones give."""
    for image in items:
        seen, clean = (opened(tmp_path, encoded(CASES[name](image, tones))) for name in (case, "nothing"))
        # For these items a move by one pixel makes a difference of 7 to 37, and a blank tile one of 42 to 131.
        assert np.abs(seen.astype(int) - clean).mean() < 25


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        (noisy(PHOTO, 10), ["noise"]),
        (PHOTO * (0.9 - 0.1 * DOWN), ["uneven light"]),
        (framed(PHOTO, 90, 4), ["background of several tones"]),
        (PHOTO[80:], ["item cut off at the edge"]),
        (PHOTO / 6, ["little contrast"]),
        (with_speck(noisy(PHOTO, 1), 100, 20, 560), []),
    ],
)
def test_what_makes_a_photo_hard_is_told(photo: Values, expected: list[str]) -> None:
    """What makes a photo hard to read comes with it, and nothing comes with an easy one."""
    assert prepared(np.asarray(as_grey(photo)))[1] == expected


def test_an_item_that_cannot_be_told_from_its_background_is_refused() -> None:
    """A pattern over the whole picture, and an item cut off by a bar, give a sentence in place of an item."""
    for photo in (128 + 90 * np.sin(7 * DOWN) * np.sin(9 * RIGHT), framed(PHOTO[80:], 90, 4)):
        with pytest.raises(FashionError, match=r"^has no plain background along its edge: photograph the item on one"):
            prepared(np.asarray(as_grey(photo)))


def test_a_pgm_of_16_bits_is_read(tmp_path: Path) -> None:
    """A PGM file with two bytes a pixel gives the same picture as one with one byte, whatever its largest value."""
    for largest in (65535, 1000):
        wide = (grey(drawn(255, 0)).astype(np.uint32) * largest // 255).astype(">u2")
        assert np.array_equal(opened(tmp_path, b"P5 300 200 %d\n" % largest + wide.tobytes()), EXPECTED)


def test_no_format_is_recommended_to_what_has_it(tmp_path: Path) -> None:
    """A file that cannot be read in its format is told another one."""
    with pytest.raises(FashionError, match=r"save it as PNG or JPEG\.$"):
        opened(tmp_path, b"II*\0" + bytes(20))


def test_a_folder_stands_for_its_images(tmp_path: Path) -> None:
    """A folder stands for the images in it, in the order of their names, and a file stands for itself.

    A file without an extension is an image by its content. The others are listed, except hidden ones and folders.
    """
    skipped = ["data.csv", "notes", "phone.heic", "readme.txt"]
    for name in (*skipped, "b.png", "a.JPG", "c.webp", "10.gif", "d.mpo", ".DS_Store", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "plain").write_bytes(encoded(drawn(255, 0)))
    (tmp_path / "folder.png").mkdir()
    images, others = files(tmp_path)
    assert [path.name for path in images] == ["10.gif", "a.JPG", "b.png", "c.webp", "d.mpo", "plain"]
    assert [path.name for path in others] == skipped
    assert files(tmp_path / "readme.txt") == ([tmp_path / "readme.txt"], [])
    assert files(tmp_path / "folder.png") == ([tmp_path / "folder.png"], [])
