"""Curves and primaries against the figures of their standards."""

import numpy as np
import pytest

from service.pictures import cicp
from service.pictures.cicp import BT709, BT2020, CURVES, D65, HLG, PQ, PRIMARIES, Encoding, to_bt709, to_srgb, to_xyz

FROM_709_TO_2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]  # BT.2087, table 1


@pytest.mark.parametrize(
    ("code", "signal", "light"),
    [
        (1, 0.081, 0.018),  # BT.709: the straight part ends there
        (13, 0.5, 0.21404),  # IEC 61966-2-1
        (4, 0.5, 0.5**2.2),
        (8, 0.3, 0.3),
        (PQ, 0.58069, 1.0),  # BT.2408: 203 cd/m2 is a signal of 58 %
        (PQ, 1.0, 10_000 / 203),
        (HLG, 0.5, 1 / 12),  # BT.2100, table 5
        (HLG, 1.0, 1.0),
    ],
)
def test_a_curve_gives_the_light_that_its_standard_says(code: int, signal: float, light: float) -> None:
    assert CURVES[code](np.array([signal]))[0] == pytest.approx(light, rel=1e-3)


@pytest.mark.parametrize("code", CURVES)
def test_every_curve_rises_from_black(code: int) -> None:
    light = CURVES[code](np.linspace(0, 1, 1000))
    assert light[0] == pytest.approx(0, abs=1e-6)
    assert (np.diff(light) >= 0).all()


def test_srgbs_curve_undoes_its_inverse() -> None:
    values = np.linspace(0, 1, 256)
    assert cicp.linear_to_srgb(cicp.srgb_to_linear(values)) == pytest.approx(values, abs=1e-7)


def test_luminance_is_that_of_bt709_and_bt2020() -> None:
    assert to_xyz(BT709)[1] == pytest.approx([0.2126, 0.7152, 0.0722], abs=1e-4)
    assert to_xyz(BT2020)[1] == pytest.approx([0.2627, 0.6780, 0.0593], abs=1e-4)


def test_from_bt2020_is_the_inverse_of_bt2087() -> None:
    assert to_bt709(BT2020) @ FROM_709_TO_2020 == pytest.approx(np.eye(3), abs=1e-3)


@pytest.mark.parametrize("code", PRIMARIES)
def test_white_stays_white_whatever_the_primaries(code: int) -> None:
    assert to_bt709(PRIMARIES[code]) @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-6)


def test_primaries_may_be_the_axes_of_xyz_which_have_no_luminance() -> None:
    """H.273 has them as 10; a linear grey of them is sRGB's of the same light."""
    grey = np.full((1, 1, 3), 32768, np.uint16)
    assert to_srgb(grey, Encoding(PRIMARIES[10], 8)).ravel() == pytest.approx(48_192, abs=2)
    assert to_xyz(PRIMARIES[10]) == pytest.approx(np.eye(3))


@pytest.mark.parametrize("wrong", [(*D65, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3), (0.3, 0.0, *BT709[2:])])
def test_primaries_in_a_line_and_a_white_of_no_luminance_are_errors(wrong: cicp.Chromaticities) -> None:
    with pytest.raises(np.linalg.LinAlgError):
        to_xyz(wrong)


def test_what_is_srgb_already_only_becomes_wider() -> None:
    samples = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert Encoding().is_srgb
    assert np.array_equal(to_srgb(samples, Encoding()), samples * np.uint16(257))


def test_a_strip_is_worked_on_like_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    whole = to_srgb(samples, Encoding(BT2020, PQ))
    monkeypatch.setattr(cicp, "STRIP_SAMPLES", 1)
    assert np.array_equal(to_srgb(samples, Encoding(BT2020, PQ)), whole)


def test_hlg_of_three_quarters_is_diffuse_white() -> None:
    """BT.2408, table 1."""
    scene = CURVES[HLG](np.full((1, 1, 3), 0.75))
    assert cicp.displayed(scene, to_xyz(BT2020)[1]) == pytest.approx(np.ones((1, 1, 3)), abs=0.01)


def test_tone_mapping_leaves_the_dark_reaches_white_at_the_peak_and_keeps_the_hue() -> None:
    light = np.array([[[0.5, 0.2, 0.1], [0.9, 0.9, 0.9], [4.0, 2.0, 1.0]]])
    mapped = cicp.tone_mapped(light, 4.0)
    assert mapped[0, :2] == pytest.approx(light[0, :2])
    assert mapped[0, 2] == pytest.approx([1.0, 0.5, 0.25])
    assert cicp.tone_mapped(light, 1.0) is light
