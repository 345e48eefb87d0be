"""A camera's noise: as coarse, as coloured and as dependent on light as in real files."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import clean as cleaning


def correlation(noise: torch.Tensor, lag: int) -> torch.Tensor:
    """Of pixels so far apart in a row, per channel."""
    return (noise[..., lag:] * noise[..., :-lag]).mean((0, 2, 3)) / noise.square().mean((0, 2, 3))


def test_camera_noise_is_as_coarse_as_in_real_files_and_coarser_in_red_and_blue() -> None:
    red, green, blue = correlation(cleaning.camera_noise(torch.full((32, 3, 96, 96), 0.2), dice(1)), 1).tolist()
    assert 0.6 < red < 0.85
    assert 0.6 < blue < 0.85
    assert 0.35 < green < red - 0.1


def test_camera_noise_grows_with_the_light() -> None:
    light = torch.cat([torch.full((16, 3, 64, 32), 0.02), torch.full((16, 3, 64, 32), 0.9)], 3)
    noise = cleaning.camera_noise(light, dice(2))
    assert float(noise[..., 40:].std()) > 1.5 * float(noise[..., :24].std())


def test_demosaicing_keeps_what_was_measured() -> None:
    noise = torch.randn(1, 3, 16, 16)
    actual = cleaning.demosaiced(noise)
    assert torch.allclose(actual[0, 0, ::2, ::2], noise[0, 0, ::2, ::2])
    assert torch.allclose(actual[0, 1, ::2, 1::2], noise[0, 1, ::2, 1::2])
    assert torch.allclose(actual[0, 2, 1::2, 1::2], noise[0, 2, 1::2, 1::2])
