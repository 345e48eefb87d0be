"""Figures of merit against independent implementations and against what MATLAB's conventions imply."""

import math

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from training.evaluation.metrics import (
    MEASURES,
    frechet_distance,
    imresize,
    inception_score,
    lab,
    luma,
    mae_lab,
    mean_matched,
    psnr,
    ssim_rgb,
    ssim_y,
)

rng = np.random.default_rng(0)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without hard edges."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 7 + y / 11), np.cos(x / 5 - y / 13), np.sin(x * y / 900)]
    return np.rint(127.5 + 110 * np.stack(waves, axis=-1)).astype(np.uint8)


PICTURE = smooth(48, 64)
NOISY = np.clip(PICTURE + rng.integers(-15, 16, PICTURE.shape), 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error() -> None:
    assert psnr(np.full((4, 4, 3), 105, np.uint8), np.full((4, 4, 3), 100, np.uint8)) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(PICTURE, PICTURE) == math.inf


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81), ((0, 255, 0), 145), ((0, 0, 255), 41), ((128, 128, 128), 126)],
)
def test_luma_is_that_of_rgb2ycbcr(colour: tuple[int, int, int], expected: int) -> None:
    assert luma(np.array([[colour]], np.uint8))[0, 0] == expected


def test_ssim_of_luma_is_scikit_images_with_a_gaussian_window() -> None:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert ssim_y(NOISY, PICTURE) == pytest.approx(structural_similarity(luma(NOISY), luma(PICTURE), **settings), abs=1e-9)


def test_ssim_of_colour_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    assert ssim_rgb(PICTURE, PICTURE) == pytest.approx(1)
    assert 0.3 < ssim_rgb(NOISY, PICTURE) < 0.99


def test_ssim_needs_a_whole_window() -> None:
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 64"):
        ssim_y(PICTURE[:10], PICTURE[:10])


def test_mean_matching_forgives_exposure_alone() -> None:
    dark = (PICTURE * 0.5).astype(np.uint8)
    assert psnr(mean_matched(dark, PICTURE), PICTURE) > psnr(dark, PICTURE) + 15


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((255, 255, 255), (100, 0, 0)), ((255, 0, 0), (54.29, 80.81, 69.89)), ((0, 255, 0), (87.82, -79.29, 80.99))],
)
def test_lab_is_that_of_an_icc_conversion_to_d50(colour: tuple[int, int, int], expected: tuple[float, ...]) -> None:
    assert lab(np.array([[colour]], np.uint8))[0, 0] == pytest.approx(expected, abs=0.03)


def test_lab_lightness_agrees_with_scikit_image() -> None:
    grey = np.repeat(PICTURE[..., :1], 3, axis=-1)
    np.testing.assert_allclose(lab(grey), rgb2lab(grey), atol=0.05)


def test_mae_in_lab_sums_the_three_channels_over_the_mask() -> None:
    other = PICTURE.copy()
    other[:24] = 255 - other[:24]
    mask = np.zeros((48, 64), bool)
    mask[:24] = True
    assert mae_lab(other, PICTURE, ~mask) == 0
    assert mae_lab(other, PICTURE) == pytest.approx(mae_lab(other, PICTURE, mask) / 2)
    with pytest.raises(ValueError, match="no pixel"):
        mae_lab(other, PICTURE, np.zeros((48, 64), bool))


@pytest.mark.parametrize(("height", "width"), [(24, 32), (12, 64), (48, 16), (20, 27), (96, 100)])
def test_imresize_is_pillows_bicubic_away_from_the_border(height: int, width: int) -> None:
    """Both widen the same cubic kernel; at the border MATLAB mirrors and Pillow renormalises, and the order of passes differs."""
    ours = imresize(PICTURE, height, width)
    theirs = np.asarray(Image.fromarray(PICTURE).resize((width, height), Image.Resampling.BICUBIC))
    assert ours.shape == (height, width, 3)
    assert int(np.abs(ours[4:-4, 4:-4].astype(int) - theirs[4:-4, 4:-4]).max()) <= 2


def test_imresize_keeps_constants_and_its_own_size() -> None:
    assert (imresize(np.full((33, 17, 3), 200, np.uint8), 11, 40) == 200).all()
    np.testing.assert_array_equal(imresize(PICTURE, 48, 64), PICTURE)


def test_frechet_distance_of_known_gaussians() -> None:
    """For samples moved by d and scaled by k: |d|^2 + tr(S)(1 - k)^2, exactly."""
    features = rng.normal(size=(400, 3))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(features + np.array([1, 2, 0]), features) == pytest.approx(5)
    centred = features - features.mean(axis=0)
    assert frechet_distance(3 * centred, centred) == pytest.approx(4 * np.trace(np.cov(centred, rowvar=False)))
    with pytest.raises(ValueError, match="two pictures of each, got 1 and 400"):
        frechet_distance(features[:1], features)


def test_inception_score_is_the_number_of_sure_even_classes() -> None:
    assert inception_score(np.tile(np.eye(4), (50, 1)), splits=5) == pytest.approx(4)
    assert inception_score(np.full((50, 4), 0.25)) == pytest.approx(1)


def test_every_measure_prefers_the_picture_itself() -> None:
    better_if_lower = {"mae_lab"}
    for name, measure in MEASURES.items():
        assert (measure(PICTURE, PICTURE) > measure(NOISY, PICTURE)) is (name not in better_if_lower)
