"""Shadows only darken."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import shadow


def test_shadows_only_darken_and_leave_the_lit_part(clean: torch.Tensor) -> None:
    picture = clean[:6, :, :64, :64].float() / 255
    dark, where = shadow.shaded(picture, dice(6))
    assert float((dark - picture).max()) < 0.05
    lit = (where == 0).expand(-1, 3, -1, -1)
    assert float((dark - picture)[lit].abs().mean()) < 0.01
    deep = (where == 1).expand(-1, 3, -1, -1)
    assert float((picture - dark)[deep].mean()) > 0.03
