"""Scenes are as bright as photographs."""

import numpy as np
import pytest

from tests.training.synthesis.conftest import SIDE
from training.synthesis import drops, outdoors, photographs, scenes, streaks


@pytest.mark.parametrize("maker", [scenes, outdoors, photographs, streaks, drops])
def test_a_seed_is_a_picture(maker: object) -> None:
    first, again, other = (maker.render(seed, SIDE) for seed in (7, 7, 8))  # type: ignore[attr-defined]
    assert first.dtype == np.uint8
    assert first.shape[:2] == (SIDE, SIDE)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_scenes_are_as_bright_as_photographs() -> None:
    means = [scenes.render(seed, 64).mean() / 255 for seed in range(30)]
    assert 0.38 < np.mean(means) < 0.48
