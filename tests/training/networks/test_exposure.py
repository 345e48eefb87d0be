"""The exposure finds the gain of a dark picture, and never darkens."""

import pytest
import torch

from tests.training.networks.test_small import pictures
from training.networks.exposure import Exposure, encoded, linear, to_root


@pytest.mark.parametrize("stops", [0, 1, 3, 6])
def test_exposure_finds_the_gain_whatever_the_darkness(stops: int) -> None:
    exposure = Exposure(16)
    bright = (pictures(1, 3, 64, 64, seed=5) + 1) / 2 * 0.8
    light = linear(bright) / 2**stops
    exposed = light * torch.exp2(exposure.stops(light, to_root(light)))[:, :, None, None]
    found = encoded(exposed, to_root(exposed)).mean()
    assert abs(float(found) - Exposure.TARGET) < 0.01


def test_exposure_never_darkens() -> None:
    light = torch.full((1, 3, 16, 16), 0.7)
    assert float(Exposure(16).stops(light, to_root(light))) == 0
