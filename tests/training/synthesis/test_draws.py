"""Conversions of colour are inverse."""

import numpy as np
import torch

from training.synthesis import scenes
from training.synthesis.draws import to_linear, to_srgb


def test_colour_conversions_are_inverse() -> None:
    x = torch.linspace(0, 1, 256)
    assert (to_srgb(to_linear(x)) - x).abs().max() < 1e-4
    assert np.abs(scenes.to_srgb(scenes.to_linear(x.numpy())) - x.numpy()).max() < 1e-4
