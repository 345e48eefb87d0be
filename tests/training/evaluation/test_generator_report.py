"""The generator's report: distances that mean what they say."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from training.evaluation.generator_report import (
    Neighbours,
    energy_distance,
    features,
    folder_pictures,
    frechet,
    generate,
    report,
)
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


def test_the_frechet_distance_is_small_between_halves_and_large_between_kinds() -> None:
    assert frechet(pictures(300, 0), pictures(300, 0, seed=1)) < 0.1 * frechet(pictures(300, 0), pictures(300, 0.5, seed=1))


def test_a_folder_is_parted_as_its_training_parts_it(tmp_path: Path) -> None:
    for index in range(20):
        Image.new("RGB", (24, 24), (12 * index, 0, 0)).save(tmp_path / f"{index:02}.png")
    training, held_out = folder_pictures(str(tmp_path), 16)
    reds = [round((float(picture[0].mean()) + 1) * 127.5) for picture in held_out]
    assert (training.shape, reds) == ((18, 3, 16, 16), [0, 120])


def test_the_report_tells_both_distances_at_every_number_of_steps(tmp_path: Path) -> None:
    spec = chosen_recipe("flowers").spec.model_copy(update={"image_size": (16, 16)})
    network = make_network(SmallConfig(condition=(), widths=(8, 8), depths=(1, 1), time_width=8)).eval()
    figures = report(network, spec, 12, tmp_path, None, (pictures(40, 0), pictures(12, 0, seed=1)))
    frechet_by_steps = figures["frechet_to_held_out"]
    assert isinstance(frechet_by_steps, dict)
    assert set(frechet_by_steps) == {"1", "2", "5", "10", "25"}
    assert min(frechet_by_steps.values()) > figures["frechet_training_to_held_out"] > 0  # type: ignore[operator]
    assert (tmp_path / "neighbours.webp").is_file()
