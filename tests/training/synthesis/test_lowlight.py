"""Dark pictures: how dark, what stays lit, and what the target is."""

import pytest
import torch

from tests.training.synthesis.conftest import SIDE, dice
from training.colour import to_linear
from training.synthesis.lowlight import TYPICAL, LowLight, darkened, lamps


def test_context_is_the_whole_dark_picture(clean: torch.Tensor) -> None:
    uncropped = LowLight(clean, crop=64, whole=64).draw(4, dice(2))
    cropped = LowLight(clean, crop=32, whole=64).draw(4, dice(2))
    assert cropped.context is not None
    assert torch.allclose(cropped.context, torch.nn.functional.avg_pool2d(uncropped.given, 2), atol=1e-5)


def test_pictures_say_how_bright_their_targets_are_and_whether_such_scenes_are(clean: torch.Tensor) -> None:
    pairs = LowLight(clean, crop=64, whole=64, nights=0).draw(256, dice(6))
    assert pairs.brightness is not None
    assert pairs.typical is not None
    whole = ((pairs.target + 1) / 2).mean((1, 2, 3))
    assert (whole - pairs.brightness[:, 0]).abs().max() < 1e-5
    dark = (pairs.given - pairs.target).abs().amax((1, 2, 3)) > 0.1
    drawn = pairs.brightness[dark & (pairs.typical[:, 0] == 0)]
    assert float(drawn.min()) < 0.25
    assert float(drawn.max()) > 0.55
    assert abs(float(pairs.typical.mean()) - TYPICAL) < 0.1
    own = (clean.float() / 255).mean((1, 2, 3))
    typical = pairs.brightness[dark & (pairs.typical[:, 0] > 0)]
    assert float(typical.min()) > float(own.min()) - 0.15
    assert float(typical.max()) < float(own.max()) + 0.15


def test_what_is_unlit_at_night_stays_black_and_what_is_lit_has_the_stated_brightness(clean: torch.Tensor) -> None:
    pairs = LowLight(clean, crop=64, whole=64, nights=1).draw(128, dice(7))
    target = ((pairs.target + 1) / 2)[(pairs.given - pairs.target).abs().amax((1, 2, 3)) > 0.1].mean(1)
    unlit = target < 0.12
    shares = unlit.float().mean((1, 2))
    assert float(shares.min()) < 0.3
    assert float(shares.max()) > 0.9
    assert 0.25 < float(target[~unlit].mean()) < 0.6


def test_lamps_only_add_light_and_burn_on_in_the_dark(clean: torch.Tensor) -> None:
    scene = to_linear(clean[:4, :, :64, :64].float() / 255)
    lit = lamps(scene, torch.full((4, 1, 1, 1), 5.0), dice(8))
    assert float((lit - scene).min()) >= 0
    assert float(lit.max()) > 2**5


@pytest.mark.parametrize("level", [0, 255])
def test_pictures_of_one_colour_can_be_darkened(level: int) -> None:
    pool = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    pool[:, 0] = level
    pairs = LowLight(pool, crop=32, whole=64).draw(64, dice())
    assert all(bool(torch.isfinite(part).all()) for part in (pairs.target, pairs.given, pairs.context))


def test_more_stops_are_darker(clean: torch.Tensor) -> None:
    scene = to_linear(clean[:4, :, :64, :64].float() / 255)
    means = [float(darkened(scene, torch.full((4, 1, 1, 1), stops), dice(5)).mean()) for stops in (1.0, 3.0, 6.0)]
    assert means[0] > means[1] > means[2] > 0
