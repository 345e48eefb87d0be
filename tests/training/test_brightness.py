"""The estimate of how bright a dark scene was is learned from the scenes, and refuses what it cannot be learned from."""

from dataclasses import dataclass

import pytest
import torch

from tests.training.synthesis.conftest import dice
from training.brightness import fit_brightness
from training.networks.exposure import Exposure
from training.synthesis.draws import Dice, Pairs


@dataclass(frozen=True)
class Lit:
    """Grey pictures, from black to twice their mean, three stops too dark; every second mean is drawn, which says nothing."""

    says: bool = True

    def draw(self, batch: int, dice: Dice) -> Pairs:
        typical = dice.chance(0.5, batch)
        mean = torch.where(typical > 0, dice.uniform(0.15, 0.6, batch, 1, 1, 1), 0.9 * torch.ones(batch, 1, 1, 1))
        contrast = torch.linspace(-1, 1, 16).repeat(16, 1) * (mean - 0.1)  # the brighter, the more contrast
        scene = (mean + contrast).clamp(0, 1).expand(-1, 3, -1, -1)
        given = (scene / 4) * 2 - 1
        brightness = scene.mean((1, 2, 3))[:, None]
        return Pairs(scene, given, given, brightness=brightness if self.says else None, typical=typical.flatten(1))


def test_it_finds_what_the_contrast_says_and_ignores_what_was_drawn() -> None:
    exposure = Exposure(8, brightness=True)
    error = fit_brightness(exposure, Lit(), dice(1), pictures=512)
    assert error < 0.05
    pairs = Lit().draw(64, dice(2))
    assert pairs.context is not None
    assert pairs.brightness is not None
    assert pairs.typical is not None
    typical = pairs.typical[:, 0] > 0
    estimated = exposure.estimate(*exposure.seen(pairs.context))[typical].detach()
    assert float((estimated - pairs.brightness[typical]).square().mean().sqrt()) < 0.05
    assert float(pairs.brightness[typical].std()) > 0.1


def test_an_exposure_or_a_source_that_has_no_brightness_is_refused() -> None:
    with pytest.raises(ValueError, match="brightness=True"):
        fit_brightness(Exposure(8), Lit(), dice(1), pictures=64)
    with pytest.raises(ValueError, match="how bright its targets are"):
        fit_brightness(Exposure(8, brightness=True), Lit(says=False), dice(1), pictures=64)
