"""The generator's report: distances that mean what they say."""

import pytest
import torch

from training.evaluation.generator_report import Neighbours, energy_distance, features, generate
from training.networks import SmallConfig, make_network
from training.train import chosen_recipe


def pictures(count: int, mean: float, seed: int = 0) -> torch.Tensor:
    return (torch.rand((count, 3, 16, 16), generator=torch.Generator().manual_seed(seed)) - 0.5) * 0.2 + mean


def test_features_are_256_numbers() -> None:
    assert features(pictures(3, 0)).shape == (3, 256)


def test_one_distribution_is_near_itself_and_far_from_another() -> None:
    own = energy_distance(features(pictures(60, 0)), features(pictures(60, 0, seed=1)))
    other = energy_distance(features(pictures(60, 0)), features(pictures(60, 0.5, seed=1)))
    assert abs(own) < 0.05 * other


def test_the_nearest_neighbour_of_a_mirrored_copy_is_found() -> None:
    training = pictures(10, 0)
    neighbour = Neighbours.of(training[3:4].flip(-1), training)
    assert int(neighbour.which) == 13
    assert float(neighbour.distance) == pytest.approx(0, abs=1e-4)


def test_picture_k_is_what_seed_k_gives_alone() -> None:
    spec = chosen_recipe("emoji").spec
    network = make_network(SmallConfig(condition=(), widths=(8, 8), depths=(1, 1), time_width=8)).eval()
    together = generate(network, spec, 22, 2)
    assert together.shape == (22, 3, 64, 64)
    assert torch.allclose(together[:3], generate(network, spec, 3, 2), atol=1e-5)
