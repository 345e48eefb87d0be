"""What the frames of one shot decide together."""

from collections.abc import Sequence

import numpy as np
import pytest

from service.engines.contract import Model
from service.video.frames import ClipFrame, Frames, with_models, with_neighbours, with_windows
from service.video.steadying.windows import REACH, window_mean
from tests.service.video.fakes import models_of

PIXELS = np.zeros((2, 2, 3), np.uint8)
RAIN, DARK = models_of("derain"), models_of("lowlight")


async def shots(*lengths: int) -> Frames:
    index = 0
    for length in lengths:
        for place in range(length):
            yield ClipFrame(index, PIXELS, PIXELS, index, 1, first=place == 0)
            index += 1


async def test_all_frames_of_a_shot_get_the_models_that_its_first_ones_decide() -> None:
    asked: list[list[int]] = []

    async def decide(frames: Sequence[ClipFrame]) -> tuple[Model, ...]:
        asked.append([frame.index for frame in frames])
        return RAIN if len(asked) % 2 else DARK

    planned = [frame async for frame in with_models(shots(30, 3, 1), decide, 9)]
    assert [frame.index for frame in planned] == list(range(34))
    assert asked == [list(range(9)), [30, 31, 32], [33]]
    assert [frame.models for frame in planned] == [RAIN] * 30 + [DARK] * 3 + [RAIN]


async def test_a_window_holds_the_frames_around_and_none_across_a_cut() -> None:
    seen: dict[int, list[int]] = {}

    async def value_of(frame: ClipFrame) -> int:
        return frame.index

    def decide(frame: ClipFrame, values: Sequence[int], middle: int) -> None:
        seen[frame.index] = list(values)
        assert values[middle] == frame.index

    passed = [frame.index async for frame in with_windows(shots(7, 4), value_of, decide, 2)]
    assert passed == list(range(11))
    assert seen == {k: list(range(max(0, k - 2), min(7, k + 3))) for k in range(7)} | {
        k: list(range(max(7, k - 2), min(11, k + 3))) for k in range(7, 11)
    }


async def test_frames_without_a_value_pass_undecided() -> None:
    async def value_of(frame: ClipFrame) -> int | None:
        return None if frame.index < 3 else frame.index

    seen: list[int] = []
    frames = with_windows(shots(8), value_of, lambda frame, values, middle: seen.append(frame.index), 1)
    assert [frame.index async for frame in frames] == list(range(8))
    assert seen == [4, 5, 6, 7]


@pytest.mark.parametrize("count", [2, 3, 9])
async def test_each_frame_knows_the_next_of_its_shot_and_the_first_one_the_early_ones(count: int) -> None:
    seen = [
        (frame.index, near.following is not None, [one.index for one in near.early])
        async for frame, near in with_neighbours(shots(2, 1, 5), count)
    ]
    last = min(8, 3 + count)
    assert seen[:3] == [(0, True, [0, 1]), (1, False, []), (2, False, [2])]
    assert seen[3:] == [(3, True, list(range(3, last))), *((k, k < 7, []) for k in range(4, 8))]


def test_a_mean_over_a_window_moves_by_a_ninth_for_one_frame() -> None:
    values = [0.0] * REACH + [1.0] + [0.0] * REACH
    assert np.isclose(window_mean(values, REACH), 1 / (REACH + 1))
