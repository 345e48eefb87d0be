"""Photographs through a wet window."""

import pytest
import torch

from tests.training.synthesis.conftest import SIDE, dice
from training.synthesis.raindrop import Raindrop, blurred, metered, refracted, veiled, wet

DRY_MAP = torch.tensor([0, 128, 128, 128]).reshape(1, 4, 1, 1).expand(4, 4, SIDE, SIDE) / 255


@pytest.fixture
def picture(clean: torch.Tensor) -> torch.Tensor:
    return clean[:4].float() / 255


def test_without_drops_the_scene_is_seen_as_it_is(picture: torch.Tensor) -> None:
    assert torch.allclose(wet(picture, DRY_MAP, dice()), picture)
    assert torch.allclose(veiled(picture, DRY_MAP[:, :1], dice()), picture)


def test_full_drops_change_it_and_stay_in_range(picture: torch.Tensor) -> None:
    drops = DRY_MAP.clone()
    drops[:, 0] = 1
    seen = wet(picture, drops, dice())
    assert float((seen - picture).abs().mean()) > 0.03
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1


def test_a_displacement_shows_what_lies_there(picture: torch.Tensor) -> None:
    shift = torch.zeros(4, 2, SIDE, SIDE)
    assert torch.allclose(refracted(picture, shift), picture, atol=1e-4)
    shift[:, 0], shift[:, 1] = 3, -2
    assert torch.allclose(refracted(picture, shift)[..., :-3, 2:], picture[..., 3:, :-2], atol=1e-3)


def test_out_of_focus_the_light_stays_and_detail_goes(picture: torch.Tensor) -> None:
    soft = blurred(picture, 8)
    assert torch.allclose(soft.mean((2, 3)), picture.mean((2, 3)), atol=0.03)
    assert float(soft.diff(dim=3).abs().mean()) < float(picture.diff(dim=3).abs().mean())


def test_a_camera_darkens_what_drops_made_brighter_and_nothing_else(picture: torch.Tensor) -> None:
    brighter = metered(picture * 1.5, picture, dice())
    assert (brighter.mean((1, 2, 3)) <= (picture * 1.5).mean((1, 2, 3)) + 1e-6).all()
    assert torch.allclose(metered(picture * 0.5, picture, dice()), picture * 0.5)


def test_pairs_are_drawn_in_the_range_of_images_and_some_windows_are_dry(clean: torch.Tensor) -> None:
    maps = torch.randint(0, 256, (2, 4, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pairs = Raindrop(clean, maps, crop=32).draw(24, dice())
    assert pairs.target.shape == pairs.given.shape == (24, 3, 32, 32)
    assert float(pairs.given.abs().max()) <= 1
    dry = (pairs.given == pairs.target).flatten(1).all(1).sum()
    assert 0 < int(dry) < 24
