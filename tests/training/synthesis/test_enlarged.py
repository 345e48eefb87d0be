"""Enlargement keeps the means and loses detail."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import enlarged


def test_enlargement_has_the_pictures_means_and_not_its_detail(clean: torch.Tensor) -> None:
    pairs = enlarged.Enlarged(clean, 64).draw(8, dice(5))
    assert torch.allclose(pairs.given.mean((2, 3)), pairs.target.mean((2, 3)), atol=0.02)
    fine = [(part[..., 1:] - part[..., :-1]).square().mean() for part in (pairs.given, pairs.target)]
    assert fine[0] < 0.8 * fine[1]
