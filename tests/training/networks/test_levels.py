"""Levels begin as the identity, and see the context alone."""

import torch

from training.networks.levels import Levels


def test_levels_begin_as_the_identity_and_see_the_context_alone() -> None:
    levels = Levels(16)
    image, context = torch.rand(2, 1, 3, 32, 32).mul(2).sub(1).unbind()
    assert torch.allclose(levels(image, context)[0], image, atol=1e-6)
    assert torch.equal(levels(image, context)[1], levels(-image, context)[1])
