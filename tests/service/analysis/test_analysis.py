"""What an analysis tells: facts of the file and the pixels, the same for the same picture, quickly and at any size."""

import numpy as np
import pytest

from rddm.faults import FAULTS
from service.analysis.analysis import analyse
from service.analysis.classifier import Classifier
from service.analysis.plan import ORDER
from service.pictures.picture import Picture

CLASSIFIER = Classifier()


def smooth(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([100 + 60 * np.sin(rows / 90 + k) + 40 * np.cos(columns / 70) for k in range(3)], axis=2).astype(np.uint8)


def test_the_facts_are_those_of_file_and_pixels() -> None:
    document = analyse(Picture(smooth(200, 300), compression=83, exposure=7.04), CLASSIFIER, ORDER).document()
    facts = document["facts"]
    assert (facts["width"], facts["height"], facts["jpeg_quality"], facts["exposure_ev"]) == (300, 200, 83, 7.0)
    assert set(document["probabilities"]) == set(FAULTS)
    assert all(0 <= value <= 1 for value in document["probabilities"].values())


def test_the_noise_that_was_added_is_measured() -> None:
    noisy = smooth(256, 384) + np.random.default_rng(0).normal(0, 12, (256, 384, 3))
    picture = Picture(noisy.clip(0, 255).astype(np.uint8))
    assert analyse(picture, CLASSIFIER, ORDER).facts["noise"] == pytest.approx([12] * 3, rel=0.15)


def test_white_noise_is_to_be_cleaned() -> None:
    noisy = smooth(256, 384) + np.random.default_rng(0).normal(0, 25, (256, 384, 3))
    assert analyse(Picture(noisy.clip(0, 255).astype(np.uint8)), CLASSIFIER, ORDER).plan == ("clean",)


def test_a_dark_picture_is_to_be_brightened() -> None:
    assert "lowlight" in analyse(Picture(smooth(256, 384) // 12), CLASSIFIER, ORDER).plan


def test_tables_that_lost_much_are_certain() -> None:
    analysis = analyse(Picture(smooth(256, 384), compression=20), CLASSIFIER, ORDER)
    assert analysis.probabilities["jpeg"] == 1
    assert analysis.plan == ("clean",)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (79, 81), (1500, 40)])
def test_any_size_is_judged(size: tuple[int, int]) -> None:
    assert len(analyse(Picture(smooth(*size)), CLASSIFIER, ORDER).probabilities) == len(FAULTS)


def test_sixteen_bits_are_judged_like_eight() -> None:
    pixels = smooth(200, 300)
    eight, sixteen = (analyse(Picture(one), CLASSIFIER, ORDER) for one in (pixels, pixels.astype(np.uint16) * 257))
    assert sixteen.probabilities == eight.probabilities
