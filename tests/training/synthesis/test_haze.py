"""Haze takes contrast and adds light."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import haze


def test_haze_takes_contrast_and_adds_light(clean: torch.Tensor) -> None:
    picture = clean[:6, :, :64, :64].float() / 255
    hazy = haze.hazed(picture, dice(3))
    assert float(hazy.std((2, 3)).mean()) < 0.8 * float(picture.std((2, 3)).mean())
    assert float(hazy.amin((1, 2, 3)).mean()) > float(picture.amin((1, 2, 3)).mean()) + 0.03
