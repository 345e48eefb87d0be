"""Several pictures on one sheet, and their steps as one."""

import numpy as np
import pytest

from service.restoration.sheets import GRID_GAP, JointProgress, grid
from service.sampling.work import Step


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (5, 2, 3), (9, 3, 3)])
def test_pictures_lie_in_about_a_square(count: int, rows: int, columns: int) -> None:
    sheet = grid([np.full((4, 6, 3), 100 + index, np.uint8) for index in range(count)])
    assert sheet.shape == (rows * 4 + (rows - 1) * GRID_GAP, columns * 6 + (columns - 1) * GRID_GAP, 3)
    corners = sheet[:: 4 + GRID_GAP, :: 6 + GRID_GAP, 0].ravel()
    assert corners[:count].tolist() == [100 + index for index in range(count)]
    assert not corners[count:].any()


def test_a_step_is_done_when_every_picture_has_done_it() -> None:
    shown: list[Step] = []
    progress = JointProgress(2, shown.append)
    preview = np.zeros((1, 3, 4, 6), np.float32)
    for index, step in ((0, 1), (0, 2), (1, 1), (1, 2), (1, 3)):
        progress.stepped(index, Step(step, 3, preview))
    assert [(step.step, step.steps) for step in shown] == [(1, 3), (2, 3)]
    assert shown[0].preview.shape == (1, 3, 4, 6 + GRID_GAP + 6)


def test_one_picture_is_shown_as_it_is() -> None:
    shown: list[Step] = []
    JointProgress(1, shown.append).stepped(0, Step(1, 1, np.full((1, 3, 4, 6), 0.25, np.float32)))
    assert np.allclose(shown[0].preview, 0.25)
