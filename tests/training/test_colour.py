"""One sRGB curve for arrays and tensors: inverse, clipped, and the same in both."""

import numpy as np
import torch

from training.colour import ROOT, from_root, to_linear, to_srgb

SRGB = np.linspace(0, 1, 1025, dtype=np.float32)


def test_the_conversions_are_inverse_and_the_same_for_arrays_and_tensors() -> None:
    light = to_linear(SRGB)
    assert light.dtype == np.float32
    assert np.abs(to_srgb(light) - SRGB).max() < 1e-4
    assert np.abs(to_linear(torch.from_numpy(SRGB)).numpy() - light).max() < 1e-6
    assert np.abs(to_srgb(torch.from_numpy(light)).numpy() - to_srgb(light)).max() < 1e-6


def test_middle_grey_and_both_ends() -> None:
    assert to_linear(np.float64(0.5)) == np.float64(((0.5 + 0.055) / 1.055) ** 2.4)
    assert to_srgb(np.array([-1.0, 0.0, 1.0, 2.0])).round(12).tolist() == [0, 0, 1, 1]


def test_a_power_that_is_known_is_used() -> None:
    light = torch.linspace(0.01, 1, 99)
    assert torch.allclose(from_root(light, light**ROOT), to_srgb(light))


def test_gradients_are_finite_at_black() -> None:
    black = torch.zeros(4, requires_grad=True)
    (to_srgb(black).sum() + to_linear(black).sum()).backward()
    assert black.grad is not None
    assert black.grad.isfinite().all()
