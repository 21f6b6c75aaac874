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
    """The reference for shifting: the image with a margin of background, cut out at another place."""
    margins = torch.nn.functional.pad(image, (2, 2, 2, 2))
    return margins[2 - down : 30 - down, 2 - right : 30 - right]


def test_scaling_is_linear() -> None:
    """Pixel 0 becomes `black`, 255 becomes `white`, and 51 lies a fifth of the way between them."""
    pixels = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(scaled(pixels, -0.1, 1.175), torch.tensor([[[[-0.1, 0.155, 1.175]]]]))


def test_mirroring_and_shifting_are_independent() -> None:
    """Each of the 50 combinations of mirroring and offset occurs about equally often; background fills the gaps."""
    images, faces = varied(5000, flip=True, shift=2), (IMAGES[0], IMAGES[0].flip(1))
    steps = range(-2, 3)
    expected = [moved(face, down, right) for face in faces for down in steps for right in steps]
    counts = [int((images == one).all((1, 2)).sum()) for one in expected]
    assert sum(counts) == 5000
    assert min(counts) > 60
    assert max(counts) < 145


def test_erasing_blanks_a_square_that_may_cross_the_edge() -> None:
    """Erasing blanks one square of the given side anywhere in the image, and the image's edges may cut it off."""
    light = torch.full((1, 28, 28), 255, dtype=torch.uint8)
    images = picked(light, [0] * 3000, Augment(flip=False, shift=0, erase=6))
    blank = images == 0
    heights, widths = blank.any(2).sum(1), blank.any(1).sum(1)
    assert torch.equal(blank.sum((1, 2)), heights * widths)
    assert set(heights.tolist()) == set(widths.tolist()) == {3, 4, 5, 6}
    assert blank.any(0).all()


def test_a_batch_is_picked_in_order_whatever_is_drawn() -> None:
    """Each position of a batch has the image that the index names there, mirrored and moved or as it is."""
    index, steps = [7, 0, 39, 7], (-1, 0, 1)
    assert torch.equal(picked(IMAGES, index, NO_AUGMENT), IMAGES[index])
    for image, number in zip(picked(IMAGES, index, Augment(flip=True, shift=1, erase=0)), index, strict=True):
        faces = (IMAGES[number], IMAGES[number].flip(1))
        assert any(torch.equal(image, moved(face, y, x)) for face in faces for y in steps for x in steps)


def test_the_same_seed_gives_the_same_images() -> None:
    """The same seed gives the same augmented images, another seed gives others, and the originals stay unchanged."""
    before = IMAGES.clone()
    one, same, other = (varied(50, flip=True, shift=2, erase=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    varied(50, erase=20)
    assert torch.equal(IMAGES, before)


def test_logits_come_in_order_whatever_the_batches() -> None:
    """Each of more images than fit into one batch has the logits that it has alone."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    images = torch.randint(256, (250, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.cat([network(image.reshape(1, 1, 28, 28) / 255.0) for image in images])
    torch.testing.assert_close(logits(network, images, 0.0, 1.0), expected.detach())
