"""Streets and parks under a bright sky."""

import numpy as np

from training.synthesis import outdoors


def test_what_is_brightest_in_a_street_is_its_sky() -> None:
    streets = np.stack([outdoors.render(seed, 64) for seed in range(60)]).mean(3) > 240
    assert streets[:, :32].sum() > 1.3 * streets[:, 32:].sum() > 0
