"""Synthesis: the same seed gives the same picture, degradations do what their names say, fine pictures stay themselves."""

import pytest
import torch

from tests.training.synthesis.conftest import dice
from training.synthesis.draws import PairSource
from training.synthesis.registry import DEGRADATIONS


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_pairs_are_pictures_and_repeatable(sources: dict[str, PairSource], name: str) -> None:
    first, again = sources[name].draw(8, dice(3)), sources[name].draw(8, dice(3))
    for part in (first.target, first.given):
        assert part.shape == (8, 3, 32, 32)
        assert part.dtype == torch.float32
        assert part.abs().max() <= 1
    assert torch.equal(first.given, again.given)
    assert torch.equal(first.target, again.target)


@pytest.mark.parametrize("name", sorted(DEGRADATIONS.keys() - {"inpaint", "upscale"}))
def test_some_pictures_are_left_as_they_are(sources: dict[str, PairSource], name: str) -> None:
    pairs = sources[name].draw(64, dice(1))
    same = ((pairs.given - pairs.target).abs().amax((1, 2, 3)) < 0.01).float().mean()
    assert 0.02 < same < 0.5
