"""A shaken camera keeps the light."""

import pytest
import torch

from tests.training.synthesis.conftest import dice
from training.colour import to_linear
from training.synthesis import shake


def test_shake_keeps_the_light_and_a_still_camera_the_picture(clean: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    light = to_linear(clean[:4, :, :64, :64].float() / 255)
    assert abs(float(shake.shaken(light, dice(7)).mean() - light.mean())) < 0.02
    monkeypatch.setattr(shake, "LONGEST", 1e-6)
    monkeypatch.setattr(shake, "TURN", 0)
    assert torch.allclose(shake.shaken(light, dice(7)), light, atol=2e-3)
