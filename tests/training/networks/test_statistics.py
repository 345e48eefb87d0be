"""Moments and the cumulative histogram of a picture."""

import pytest
import torch

from training.networks.statistics import describe

LEVELS = torch.tensor([-0.5, 0.5])


def test_a_flat_picture_has_its_level_as_mean_and_root_mean_square() -> None:
    statistics = describe(torch.full((1, 3, 8, 8), -0.25), LEVELS)
    assert statistics.shape == (1, 3 * (2 + 2))
    mean, rms, below_low, below_high = statistics.reshape(4, 3)[:, 0].tolist()
    assert (mean, rms) == (-0.25, 0.25)
    assert below_low == pytest.approx(0, abs=0.01)  # soft: of a logistic curve of slope 20
    assert below_high == pytest.approx(1, abs=0.01)


def test_the_channels_of_one_figure_lie_beside_one_another() -> None:
    picture = torch.arange(3.0).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert describe(picture, LEVELS)[0, :3].tolist() == [0.0, 1.0, 2.0]


def test_half_a_picture_lies_below_the_middle() -> None:
    picture = torch.cat([torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 1.0)], 3)
    assert float(describe(picture, torch.tensor([0.0]))[0, 2]) == pytest.approx(0.5)


def test_a_picture_is_described_alone_as_in_a_batch() -> None:
    batch = torch.rand(4, 3, 8, 8) * 2 - 1
    together = describe(batch, LEVELS)
    assert torch.allclose(together[2:3], describe(batch[2:3], LEVELS), atol=1e-6)


def test_where_things_lie_does_not_matter() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert torch.allclose(describe(picture, LEVELS), describe(picture.flip(3), LEVELS), atol=1e-6)
