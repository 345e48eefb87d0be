"""What JPEG does to a picture, as arithmetic on a batch: 8x8 DCT, the standard quantisation tables, half-resolution colour."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from rddm.faults import YCC
from training.synthesis.draws import Dice

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8 for _ in range(4)),
)  # fmt: skip


def dct_matrix() -> Tensor:
    """The orthonormal 8-point DCT-II, (8, 8)."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    matrix = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def compress(picture: Tensor, quality: Tensor, subsampled: bool = True) -> Tensor:
    """Through JPEG and back: b 3 h w in 0..1, h and w multiples of 16; quality (b,) in 1..100.

    subsampled: colour at half resolution (4:2:0), else at full (4:4:4).
    """
    ycc = torch.einsum("dc,bchw->bdhw", torch.tensor(YCC, device=picture.device), picture * 255)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma = _quantised(ycc[:, :1] - 128, LUMA, scale)
    chroma = _quantised(functional.avg_pool2d(ycc[:, 1:], 2) if subsampled else ycc[:, 1:], CHROMA, scale)
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear") if subsampled else chroma
    back = torch.linalg.inv(torch.tensor(YCC, device=picture.device))
    rgb = torch.einsum("dc,bchw->bdhw", back, torch.cat([luma + 128, chroma], 1))
    return (rgb / 255).clamp(0, 1)


def some_compressed(picture: Tensor, probability: float, qualities: tuple[float, float], dice: Dice) -> Tensor:
    """The batch with some of its pictures through JPEG, each with the probability and a quality between the two."""
    chosen = torch.nonzero(dice.chance(probability, len(picture)).flatten()).flatten()
    if len(chosen) == 0:
        return picture
    changed = picture.clone()
    changed[chosen] = compress(picture[chosen], dice.uniform(*qualities, len(chosen)))
    return changed


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    batch, channels, height, width = planes.shape
    matrix = dct_matrix().to(planes.device)
    step = torch.tensor(table, dtype=torch.float32, device=planes.device)
    step = (step * scale[:, None, None]).round().clamp(1, 255)[:, None, None, :, None, :]
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8)
    coefficients = torch.einsum("ki,bcyixj,lj->bcykxl", matrix, blocks, matrix)
    coefficients = (coefficients / step).round() * step
    return torch.einsum("ki,bcykxl,lj->bcyixj", matrix, coefficients, matrix).reshape(planes.shape)
