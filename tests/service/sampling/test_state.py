"""One picture's state: bands and tiles change nothing, and what was asked for is kept."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from rddm.condition import parts_of
from rddm.sampler import philox_noise
from rddm.spec import ModelSpec
from service.engines.arrays import HOST, HostArrays
from service.engines.repository import find_newest
from service.sampling.state import DEFAULT_SEED, PREVIEW_SIDE, SamplingState, default_noise, noise_of, thumbnail
from service.sampling.work import Work
from service.settings import shipped_repository
from tests.service.serving import RESTORER, model


class Narrow(HostArrays):
    """Bands of few rows."""

    band_pixels = 64 * 8


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)


def sampled(state: SamplingState) -> SamplingState:
    """To the end, with a network whose answer is a tenth of x_t less the condition."""
    state.prepare()
    while state.question is not None:
        if state.whole:
            x_t, condition = state.cut(state.plan.tiles[0])
            state.take((0.1 * (x_t - condition),))
            continue
        for index, tile in enumerate(state.plan.tiles):
            x_t, condition = state.cut(tile)
            state.blend(index, (0.1 * (x_t - condition),))
    return state


def state(
    size: tuple[int, int], arrays: Any = HOST, spec: ModelSpec = RESTORER, shows_x_0: bool = False, **facts: Any
) -> SamplingState:
    work = Work(model(spec), 3, 7, "r", "c", picture(*size), **facts)
    return SamplingState(work, arrays, shows_x_0=shows_x_0)


@pytest.mark.parametrize("size", [(50, 61), (200, 131)])
def test_bands_change_not_one_bit(size: tuple[int, int]) -> None:
    whole, banded = sampled(state(size)), sampled(state(size, Narrow()))
    assert (len(whole.bands), len(banded.bands) > 3) == (1, True)
    assert whole.x_0().shape == (1, 3, *size)
    assert np.array_equal(whole.x_0(), banded.x_0())


def test_tiles_give_what_the_whole_gives() -> None:
    tiled = sampled(state((120, 120)))
    spec = RESTORER.model_copy(update={"name": "tiled", "most_pixels": 64 * 64})
    cut = sampled(state((120, 120), spec=spec))
    assert (tiled.whole, cut.whole) == (True, False)
    assert np.allclose(tiled.x_0(), cut.x_0(), atol=1e-5)


def test_a_tile_is_exposed_as_in_the_whole_picture_of_which_no_plane_is_held() -> None:
    lowlight = find_newest(shipped_repository(), "lowlight").model.spec
    tiled = state((608, 624), spec=lowlight.model_copy(update={"most_pixels": 384 * 384}))
    tracemalloc.start()
    tiled.prepare()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.7 * 3 * 4 * tiled.plan.height * tiled.plan.width  # x_t is one such plane
    first, last = tiled.plan.tiles[0], tiled.plan.tiles[-1]
    whole = parts_of(lowlight, picture(608, 624), None, (tiled.plan.height, tiled.plan.width), (first.height, first.width))
    for tile in (first, last):
        _, condition = tiled.cut(tile)
        assert condition is not None
        assert np.array_equal(condition[:, 3:6], tile.cut(np.asarray(whole["exposed"])))


@pytest.mark.parametrize("arrays", [HOST, Narrow()])
def test_residual_trace_and_previews_are_kept_where_they_are_asked_for(arrays: Any) -> None:
    kept = sampled(state((40, 24), arrays, shows_x_0=True, keep=frozenset({"residual", "trace"})))
    residual = kept.residual()
    assert residual is not None
    assert residual.shape == (1, 3, 40, 24)
    assert len(kept.trace) == 1 + 3
    assert np.array_equal(kept.trace[-1], kept.x_0())
    assert np.array_equal(kept.preview(), kept.x_0())
    plain = sampled(state((40, 24), arrays))
    assert (plain.residual(), plain.trace) == (None, [])


def test_a_band_that_has_its_x_0_takes_no_further_answer() -> None:
    done = sampled(state((16, 16)))
    with pytest.raises(RuntimeError, match="has its x_0 already"):
        done.advance(done.bands[0])


def test_the_default_seeds_noise_is_kept_and_is_the_same_as_drawn() -> None:
    assert np.array_equal(noise_of(DEFAULT_SEED, 8, 9)(1), philox_noise(DEFAULT_SEED, 3, 8, 9)(1))
    assert default_noise(0, 8, 9) is default_noise(0, 8, 9)
    assert not np.array_equal(noise_of(1, 8, 9)(0), noise_of(0, 8, 9)(0))


@pytest.mark.parametrize(("size", "small"), [((100, 60), (100, 60)), ((1024, 512), (512, 256)), ((1, 2048), (1, 512))])
def test_a_thumbnail_is_at_most_so_large_and_never_the_picture_itself(size: tuple[int, int], small: tuple[int, int]) -> None:
    given = picture(*size)
    shown = thumbnail(given)
    assert shown.shape[2:] == small
    assert max(small) <= PREVIEW_SIDE
    assert not np.shares_memory(shown, given)
    assert shown.mean() == pytest.approx(given.mean(), abs=1e-3)
