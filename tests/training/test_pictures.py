"""Images become pictures and sheets, and bytes become images."""

import numpy as np
import torch

from rddm.image import to_image
from training.pictures import GREY, in_rows, sheet, thumbnail, to_images, to_pictures, to_planes

PICTURES = [np.full((4, 6, 3), level, np.uint8) for level in (0, 100, 255)]


def test_bytes_come_back() -> None:
    images = to_images(to_planes(PICTURES))
    assert images.shape == (3, 3, 4, 6)
    assert all(np.array_equal(one, other) for one, other in zip(to_pictures(images), PICTURES, strict=True))
    assert np.abs(images[1:2].numpy() - to_image(PICTURES[1])).max() < 1e-6


def test_images_are_clipped() -> None:
    images = torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert [int(picture.max()) for picture in to_pictures(images)] == [0, 255]


def test_a_sheet_is_filled_with_grey() -> None:
    made = sheet(in_rows(PICTURES, 2))
    assert made.shape == (8, 12, 3)
    assert np.array_equal(made[:4, 6:], PICTURES[1])
    assert (made[4:, 6:] == GREY).all()


def test_a_thumbnail_lies_in_the_middle_of_a_square() -> None:
    small = thumbnail(PICTURES[2], 8)
    assert small.shape == (8, 8, 3)
    assert (small[2:6, 1:7] == 255).all()
    assert (small[:2] == GREY).all()
