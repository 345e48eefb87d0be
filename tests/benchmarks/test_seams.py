"""A step at a border is not confused with a difference that is around the border as well."""

import numpy as np

from benchmarks.seams import NEAR, compare, near
from rddm.tiling import Plan, Tile, Window

SIDE, TILE = 400, 250  # two tiles across, which overlap by 100
WINDOW = Window(np.ones((SIDE, 1), np.float32), np.ones((1, TILE), np.float32))
PLAN = Plan(SIDE, SIDE, (Tile(0, 0, SIDE, TILE), Tile(0, SIDE - TILE, SIDE, TILE)), (WINDOW, WINDOW))
WHOLE = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)


def test_a_step_stands_out_from_what_is_beside_it() -> None:
    tiled = WHOLE.copy()
    tiled[..., TILE:] += 0.02
    seam = compare("step", tiled, WHOLE, PLAN)
    assert seam.beside > 1000
    assert seam.worst > 2  # 0.02 of 2 are 2.55 levels of 255


def test_what_differs_all_around_a_border_is_no_seam_though_nothing_differs_far_from_it() -> None:
    tiled = WHOLE.copy()
    tiled[..., SIDE - TILE - 50 : TILE + 50] += np.linspace(0, 0.02, 200, dtype=np.float32)
    seam = compare("slope", tiled, WHOLE, PLAN)
    assert seam.difference > 1.2
    assert 0.9 < seam.beside < 1.1


def test_what_is_near_a_border_is_on_both_its_sides() -> None:
    border = np.zeros(200, bool)
    border[100:102] = True
    assert np.flatnonzero(near(border)).tolist() == [*range(100 - NEAR, 100), *range(102, 102 + NEAR)]
