"""What a picture is judged by: views of a fixed size, and numbers that mean what they say."""

import numpy as np
import pytest

from rddm.faults import NUMBERS, THUMBNAIL, WINDOW, Views, blocks_of, corners, facts_of, inputs_of, noise_of, views_of, windows_of

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(1, 1), (80, 79), (300, 200), (97, 4000)])
def test_views_have_one_size_whatever_the_picture(size: tuple[int, int]) -> None:
    views = views_of(np.zeros((*size, 3), np.uint8))
    assert views.thumbnail.shape == (THUMBNAIL, THUMBNAIL, 3)
    assert views.windows.shape == (6, WINDOW, WINDOW, 3)
    shapes = {name: part.shape for name, part in inputs_of(views, facts_of(views)).items()}
    assert shapes["numbers"] == (1, NUMBERS)


def test_windows_are_pixels_of_the_picture_on_the_grid_of_jpeg() -> None:
    picture = DRAW.integers(0, 256, (400, 640, 3), np.uint8)
    assert all(corner % 16 == 0 for side, count in ((400, 2), (640, 3)) for corner in corners(side, count))
    top, left = corners(400, 2)[1], corners(640, 3)[2]
    np.testing.assert_array_equal(windows_of(picture)[5], picture[top : top + WINDOW, left : left + WINDOW])


@pytest.mark.parametrize("deviation", [3.0, 12.0, 30.0])
def test_the_deviation_of_white_noise_is_found(deviation: float) -> None:
    windows = (128 + DRAW.normal(0, deviation, (6, WINDOW, WINDOW, 3))).clip(0, 255).astype(np.uint8)
    assert noise_of(windows) == pytest.approx([deviation] * 3, rel=0.1)


def test_blocks_are_distinguished_from_a_picture_without_them() -> None:
    smooth = np.broadcast_to(np.arange(WINDOW, dtype=np.uint8)[:, None, None], (6, WINDOW, WINDOW, 3))
    blocky = np.repeat(np.repeat(DRAW.integers(90, 160, (6, WINDOW // 8, WINDOW // 8, 3), np.uint8), 8, 1), 8, 2)
    assert blocks_of(np.ascontiguousarray(smooth)) == pytest.approx(1, abs=0.05)
    assert blocks_of(blocky) > 10


def test_the_dark_channel_is_high_in_haze() -> None:
    def channel(picture: np.ndarray) -> float:
        return facts_of(Views(picture, np.zeros((6, WINDOW, WINDOW, 3), np.uint8))).dark_channel

    clear = DRAW.integers(0, 256, (THUMBNAIL, THUMBNAIL, 3), np.uint8)
    hazy = (clear * 0.4 + 150).astype(np.uint8)
    assert channel(clear) < 0.05
    assert channel(hazy) > 0.5
