"""Batches of images as pictures of bytes and back, and pictures side by side on a contact sheet."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rddm.image import to_pixels

Picture = NDArray[np.uint8]
GREY = 128


def to_pictures(images: Tensor) -> list[Picture]:
    """b 3 h w in [-1, 1], clipped -> b pictures h w 3."""
    return [to_pixels(image[None]).astype(np.uint8) for image in images.detach().cpu().numpy()]


def to_images(planes: Tensor) -> Tensor:
    """Bytes b 3 h w -> images in [-1, 1], float32."""
    return planes.float() / 127.5 - 1


def to_planes(pictures: Sequence[Picture]) -> Tensor:
    """Pictures h w 3 of one size -> bytes b 3 h w."""
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


def sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Rows of pictures of one size as one picture; a shorter row ends in grey."""
    columns = max(map(len, rows))
    empty = np.full_like(rows[0][0], GREY)
    return np.concatenate([np.concatenate([*row, *[empty] * (columns - len(row))], axis=1) for row in rows], axis=0)


def in_rows(pictures: Sequence[Picture], columns: int) -> list[Sequence[Picture]]:
    """The pictures in rows of `columns`."""
    return [pictures[k : k + columns] for k in range(0, len(pictures), columns)]


def thumbnail(picture: Picture, side: int) -> Picture:
    """A picture of any size, shrunk where it is larger, in the middle of a grey square."""
    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), (GREY, GREY, GREY))
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return np.asarray(square)
