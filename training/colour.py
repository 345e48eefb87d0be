"""The sRGB curve (IEC 61966-2-1), for NumPy arrays and torch tensors: sRGB and linear light, both 0..1."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = Any
ROOT = 1 / 2.4
# Under these a straight line takes the place of the power, whose slope has no end there.
SRGB_LINE, LIGHT_LINE = 0.04045, 0.0031308


def to_linear(srgb: Array) -> Array:
    """sRGB -> linear light; of the array's own kind and type."""
    return _where(srgb <= SRGB_LINE, srgb / 12.92, ((_at_least(srgb, 0.04) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Array) -> Array:
    """Linear light -> sRGB, clipped to 0..1."""
    light = light.clip(0, 1)
    return from_root(light, _at_least(light, 0.003) ** ROOT)


def from_root(light: Array, root: Array) -> Array:
    """Linear light and its power ROOT -> sRGB, not clipped: for callers that have the power already."""
    return _where(light <= LIGHT_LINE, 12.92 * light, 1.055 * root - 0.055)


def _where(condition: Array, one: Array, other: Array) -> Array:
    return torch.where(condition, one, other) if isinstance(condition, Tensor) else np.where(condition, one, other)


def _at_least(values: Array, least: float) -> Array:
    """Kept off the line's part, where a power's slope would make gradients not a number."""
    return values.clamp(min=least) if isinstance(values, Tensor) else np.maximum(values, least)
