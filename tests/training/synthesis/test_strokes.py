"""Masks hide a part."""

import numpy as np
import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import strokes
from training.synthesis.draws import PairSource


def test_what_a_mask_hides_is_of_one_colour_and_the_rest_is_kept(sources: dict[str, PairSource]) -> None:
    pairs = sources["inpaint"].draw(16, dice(4))
    assert pairs.mask is not None
    assert set(pairs.mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(pairs.given * (1 - pairs.mask), pairs.target * (1 - pairs.mask))
    hidden = pairs.given[0][pairs.mask[0] > 0].view(3, -1)
    assert float((hidden.amax(1) - hidden.amin(1)).max()) == 0


def test_masks_hide_a_part() -> None:
    shares = [strokes.mask(np.random.default_rng(seed), 128).mean() / 255 for seed in range(60)]
    assert max(shares) < 0.5
    assert 0.01 < np.mean(shares) < 0.2
