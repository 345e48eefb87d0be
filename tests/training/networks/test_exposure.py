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
    mean = encoded(exposed, to_root(exposed)).mean()
    assert abs(float(mean) - Exposure.TARGET) < 0.01


def test_exposure_brings_a_picture_to_the_mean_that_it_is_given_and_guesses_where_it_is_given_none() -> None:
    exposure = Exposure(16, brightness=True)
    dark = (torch.linspace(0, 0.1, 64).expand(2, 3, 64, -1)) * 2 - 1
    wanted = torch.tensor([[0.2], [0.6]])
    bright, _ = exposure(dark, dark, wanted)
    assert (bright.mean((1, 2, 3)) - wanted[:, 0]).abs().max() < 0.03
    guessed = exposure.estimate(*exposure.seen(dark))
    assert torch.equal(exposure(dark, dark, torch.zeros(2, 1))[0], exposure(dark, dark, guessed)[0])
    with pytest.raises(ValueError, match="brightness=True"):
        Exposure(16)(dark, dark, wanted)


def test_exposure_never_darkens() -> None:
    light = torch.full((1, 3, 16, 16), 0.7)
    assert float(Exposure(16).stops(light, to_root(light))) == 0
