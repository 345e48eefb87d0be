"""Rain adds light."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis.rain import rained


def test_rain_never_darkens_what_it_adds_to(clean: torch.Tensor) -> None:
    picture, rain = clean[:4, :, :64, :64].float() / 255 * 0.5, torch.rand(4, 1, 64, 64)
    assert float((rained(picture, rain, dice(0)) - picture).min()) > -0.1
    assert torch.equal(rained(picture, 0 * rain, dice(4))[0], picture[0])
