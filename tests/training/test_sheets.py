"""Grids of what a network makes: rows of given, restored and wanted, or generated pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from rddm.spec import ModelSpec
from tests.training.runs import SPEC
from training.sheets import ACROSS, grid, save_grid
from training.synthesis.draws import Pairs


class Nothing(nn.Module):
    """Predicts no residual, so that x_0 is x_in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))  # tells the device

    def forward(self, x_t: Tensor, _condition: Tensor | None, _time: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x_t),)


def flat(level: float, count: int) -> Tensor:
    return torch.full((count, 3, 16, 16), float(level))


def test_rows_are_given_restored_and_wanted() -> None:
    picture = grid(
        Nothing(),
        SPEC.model_copy(update={"schedule": SPEC.schedule.model_copy(update={"sum_scale": 0.0})}),
        Pairs(flat(1, 2), flat(-1, 2)),
    )
    assert picture.shape == (3 * 16, 2 * 16, 3)
    assert [int(picture[row * 16 + 8, 8, 0]) for row in range(3)] == [0, 0, 255]


def test_no_more_than_fit_across_are_shown() -> None:
    assert grid(Nothing(), SPEC, Pairs(flat(0, 11), flat(0, 11))).shape == (48, ACROSS * 16, 3)


def test_a_generator_shows_two_rows_of_pictures() -> None:
    facts = {"start": "noise", "condition": (), "image_size": (16, 16), "objective": "pred_noise"}
    spec = ModelSpec.model_validate({**SPEC.model_dump(), **facts})
    picture = grid(Nothing(), spec, Pairs(flat(0, 3), flat(0, 3)))
    assert picture.shape == (2 * 16, 3 * 16, 3)
    tiles = picture.reshape(2, 16, 3, 16, 3).swapaxes(1, 2).reshape(6, -1)
    assert len(np.unique(tiles, axis=0)) == 6


def test_a_grid_is_saved_where_there_was_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "samples" / "0001.png"
    save_grid(path, np.full((2, 3, 3), 7, np.uint8))
    with Image.open(path) as file:
        assert (file.size, file.getpixel((0, 0))) == ((3, 2), (7, 7, 7))
