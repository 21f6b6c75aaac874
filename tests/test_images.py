"""Selection, augmentation, scaling and logits, compared with reference operations."""

from typing import Any

import torch

from fashion.networks.inference import logits, scaled
from fashion.settings.description import NO_AUGMENT, Augment
from fashion.training.augmentation import augmented, views

IMAGES = torch.randint(0, 256, (40, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def picked(images: torch.Tensor, index: list[int], augment: Augment, seed: int = 0) -> torch.Tensor:
    """The images at these indices, augmented."""
    return augmented(views(images, augment), torch.tensor(index), augment, torch.Generator().manual_seed(seed))


def varied(count: int, *, seed: int = 0, **settings: Any) -> torch.Tensor:
    """The first image, augmented `count` times."""
    return picked(IMAGES, [0] * count, NO_AUGMENT.model_copy(update=settings), seed)


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The reference for shifting: the image rolled, and the pixels that wrapped around set to background."""
    result = image.roll((down, right), (0, 1))
    if down:
        result[slice(0, down) if down > 0 else slice(down, None)] = 0
    if right:
        result[:, slice(0, right) if right > 0 else slice(right, None)] = 0
    return result


def test_scaling_is_linear() -> None:
    """Pixel 0 becomes `black`, 255 becomes `white`, and 51 lies a fifth of the way between them."""
    pixels = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(scaled(pixels, -0.1, 1.175), torch.tensor([[[[-0.1, 0.155, 1.175]]]]))


def test_without_augmentation_images_are_picked_as_they_are() -> None:
    """Without augmentation an index picks its images unchanged and in order."""
    assert torch.equal(picked(IMAGES, [3, 1, 39], NO_AUGMENT), IMAGES[[3, 1, 39]])


def test_flipping_mirrors_half_of_the_images() -> None:
    """Each image is either unchanged or mirrored, each in about half of the cases."""
    images = varied(2000, flip=True)
    same = (images == IMAGES[0]).all((1, 2))
    mirrored = (images == IMAGES[0].flip(1)).all((1, 2))
    assert (same ^ mirrored).all()
    assert 900 < same.sum() < 1100


def test_shifting_reaches_every_offset_equally_often() -> None:
    """With a shift of 2 each of the 25 offsets occurs about equally often, and background fills the gaps."""
    images = varied(5000, shift=2)
    counts = [
        int((images == moved(IMAGES[0], down, right)).all((1, 2)).sum())
        for down in range(-2, 3)
        for right in range(-2, 3)
    ]
    assert sum(counts) == 5000
    assert min(counts) > 140
    assert max(counts) < 260


def test_erasing_blanks_a_square_that_may_cross_the_edge() -> None:
    """Erasing blanks one square of the given side anywhere in the image, and the image's edges may cut it off."""
    light = torch.full((1, 28, 28), 255, dtype=torch.uint8)
    images = picked(light, [0] * 3000, Augment(flip=False, shift=0, erase=6))
    blank = images == 0
    heights, widths = blank.any(2).sum(1), blank.any(1).sum(1)
    assert torch.equal(blank.sum((1, 2)), heights * widths)
    assert set(heights.tolist()) == set(widths.tolist()) == {3, 4, 5, 6}
    assert blank.any(0).all()


def test_augmentation_leaves_the_images_as_they_are() -> None:
    """Augmentation changes copies, and the images that it picks from stay unchanged."""
    before = IMAGES.clone()
    for shift in (0, 2):
        varied(50, shift=shift, erase=20)
    assert torch.equal(IMAGES, before)


def test_a_batch_is_picked_in_order_whatever_is_drawn() -> None:
    """With mirroring and shifting, each position of a batch has the image that the index names there."""
    index = [7, 0, 39, 7]
    batch = picked(IMAGES, index, Augment(flip=True, shift=1, erase=0))
    for image, number in zip(batch, index, strict=True):
        faces = (IMAGES[number], IMAGES[number].flip(1))
        assert any(torch.equal(image, moved(face, y, x)) for face in faces for y in (-1, 0, 1) for x in (-1, 0, 1))


def test_every_image_is_augmented_independently() -> None:
    """500 copies of one image in a batch show all 50 combinations of mirroring and shifting."""
    images = varied(500, flip=True, shift=2)
    assert len({image.numpy().tobytes() for image in images}) == 50


def test_the_same_seed_gives_the_same_images() -> None:
    """The same seed gives the same augmented images, and another seed gives others."""
    assert torch.equal(varied(50, flip=True, shift=2, erase=5), varied(50, flip=True, shift=2, erase=5))
    assert not torch.equal(varied(50, shift=2, seed=1), varied(50, shift=2, seed=2))


def test_logits_come_in_order_whatever_the_batches() -> None:
    """Each of more images than fit into one batch has the logits that it has alone."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    images = torch.randint(256, (250, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.cat([network(image.reshape(1, 1, 28, 28) / 255.0) for image in images])
    torch.testing.assert_close(logits(network, images, 0.0, 1.0), expected.detach())
