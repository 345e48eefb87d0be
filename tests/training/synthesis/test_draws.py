"""Draws repeat with their generator, and the arithmetic on drawn pictures does what it says."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis.draws import quantise, windows, with_mean


def test_the_same_generator_state_gives_the_same_draws() -> None:
    assert torch.equal(dice(3).uniform(0, 1, 8), dice(3).uniform(0, 1, 8))
    assert not torch.equal(dice(3).normal(8), dice(4).normal(8))


def test_pictures_are_rounded_to_256_levels() -> None:
    levels = quantise(dice().uniform(-0.2, 1.2, 4, 3, 8, 8)) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert (levels.min(), levels.max()) == (0, 255)


def test_a_picture_gets_about_the_mean_that_was_asked_for() -> None:
    picture = dice().uniform(0.3, 0.5, 2, 3, 16, 16)
    wanted = torch.tensor([0.2, 0.6]).view(2, 1, 1, 1)
    assert (with_mean(picture, wanted).mean((1, 2, 3)) - wanted.flatten()).abs().max() < 0.02


def test_windows_are_cut_from_the_pool() -> None:
    pool = torch.arange(2, dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32) * 200
    cut = windows(pool, 6, 16, dice())
    assert cut.shape == (6, 3, 16, 16)
    assert set(cut.unique().tolist()) <= {0.0, torch.tensor(200 / 255).item()}
