"""Colours by code points (ITU-T H.273, "CICP") or by a gamma and chromaticities, as PNG, AVIF, HEIC and JPEG XL files give them.

Samples are made linear by the curve, taken to the primaries of sRGB in linear light, and given sRGB's curve. High dynamic range
(PQ, HLG) is mapped to what a screen shows, with 203 cd/m2 as diffuse white (ITU-R BT.2408).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Floats = NDArray[np.floating]
Curve = Callable[[Floats], Floats]
Chromaticities = tuple[float, float, float, float, float, float, float, float]  # x and y of white, red, green, blue

UNSPECIFIED = 2
D65 = (0.3127, 0.3290)
BT709: Chromaticities = (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
DISPLAY_P3: Chromaticities = (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020: Chromaticities = (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
PRIMARIES: dict[int, Chromaticities] = {  # H.273, table 2
    1: BT709,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: BT2020,
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: DISPLAY_P3,
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
SDR_WHITE, HLG_PEAK, PQ_PEAK = 203.0, 1000.0, 10000.0  # cd/m2
D50_XYZ = np.array([0.9642, 1.0, 0.8249])  # the white of ICC profiles
KNEE = 0.9  # of diffuse white; below it high dynamic range is shown as it is
STRIP_SAMPLES = 1 << 20
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def srgb_to_linear(value: Floats) -> Floats:
    """IEC 61966-2-1."""
    return np.where(value <= 0.04045, value / 12.92, ((value.clip(0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: Floats) -> Floats:
    """IEC 61966-2-1."""
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value.clip(0) ** (1 / 2.4) - 0.055)


def gamma_curve(exponent: float) -> Curve:
    """A power of the value."""
    return lambda value: np.asarray(value.clip(0) ** exponent)


def bt709_to_linear(value: Floats) -> Floats:
    """The inverse of the transfer function of BT.709, which BT.601 and BT.2020 share."""
    return np.where(value < 0.081242858, value / 4.5, ((value.clip(0) + 0.09929683) / 1.09929683) ** (1 / 0.45))


def smpte240_to_linear(value: Floats) -> Floats:
    """SMPTE ST 240."""
    return np.where(value < 0.0913, value / 4.0, ((value.clip(0) + 0.1115) / 1.1115) ** (1 / 0.45))


def pq_to_linear(value: Floats) -> Floats:
    """SMPTE ST 2084: to light, with 1 as diffuse white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = value.clip(0) ** (1 / m2)
    return np.asarray((PQ_PEAK / SDR_WHITE) * ((root - c1).clip(0) / (c2 - c3 * root)) ** (1 / m1))


def hlg_to_scene(value: Floats) -> Floats:
    """ARIB STD-B67 (BT.2100): to the light of the scene, in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(value <= 0.5, value * value / 3, (np.exp((value - c) / a) + b) / 12)


CURVES: dict[int, Curve] = {  # H.273, table 3
    1: bt709_to_linear,
    4: gamma_curve(2.2),
    5: gamma_curve(2.8),
    6: bt709_to_linear,
    7: smpte240_to_linear,
    8: gamma_curve(1.0),
    11: bt709_to_linear,
    12: bt709_to_linear,
    13: srgb_to_linear,
    14: bt709_to_linear,
    15: bt709_to_linear,
    16: pq_to_linear,
    18: hlg_to_scene,
}
PQ, HLG, SRGB_CURVE = 16, 18, 13


@dataclass(frozen=True)
class Encoding:
    """How numbers stand for light. chromaticities: of the primaries; curve: a code of CURVES, or a power."""

    chromaticities: Chromaticities = BT709
    curve: int | float = SRGB_CURVE

    @property
    def is_srgb(self) -> bool:
        """Whether nothing has to be done."""
        return self.curve == SRGB_CURVE and self.has_srgb_primaries

    @property
    def has_srgb_primaries(self) -> bool:
        """Within what files round to."""
        return max(abs(a - b) for a, b in zip(self.chromaticities, BT709, strict=True)) < 0.002

    @property
    def is_hdr(self) -> bool:
        """Whether it has light above diffuse white."""
        return isinstance(self.curve, int) and self.curve in {PQ, HLG}

    @property
    def to_linear(self) -> Curve:
        """The curve from samples 0..1 to linear light."""
        return CURVES[self.curve] if isinstance(self.curve, int) else gamma_curve(self.curve)


@cache
def to_xyz(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """From linear RGB to XYZ in which white has Y = 1. Raises LinAlgError for primaries in a line or a white of y = 0."""
    points = np.array(chromaticities, np.float64).reshape(4, 2)
    xyz = np.column_stack([points, 1 - points.sum(axis=1)])
    white, primaries = xyz[0], xyz[1:].T  # not divided by y, which may be 0: H.273 has the axes of XYZ as primaries
    if white[1] == 0:
        raise np.linalg.LinAlgError("a white of y = 0 has no luminance")
    matrix: NDArray[np.float64] = primaries * np.linalg.solve(primaries, white / white[1])
    return matrix


@cache
def to_bt709(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """The matrix from linear RGB of those primaries to that of sRGB; another white is adapted to D65 (Bradford)."""
    source = to_xyz(chromaticities)
    matrix: NDArray[np.float64] = np.linalg.inv(to_xyz(BT709)) @ adapted(source, source.sum(axis=1))
    return matrix


def adapted(matrix: NDArray[np.float64], white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of XYZ as they are seen under a white, as they would be under D65 (Bradford)."""
    cones, wanted = BRADFORD @ white, BRADFORD @ to_xyz(BT709).sum(axis=1)
    changed: NDArray[np.float64] = np.linalg.inv(BRADFORD) @ np.diag(wanted / cones) @ BRADFORD @ matrix
    return changed


def to_srgb(samples: Pixels, encoding: Encoding) -> NDArray[np.uint16]:
    """Samples h w (grey) or h w 3, uint8 or uint16 -> sRGB of the same shape, 16 bits."""
    table = encoding.to_linear(np.linspace(0, 1, int(np.iinfo(samples.dtype).max) + 1)).astype(np.float32)
    shown = _hdr_light(samples, table, encoding) if encoding.is_hdr else None
    result = np.empty(samples.shape, np.uint16)
    rows = max(1, STRIP_SAMPLES // max(1, samples[0].size))
    for top in range(0, len(samples), rows):
        part = slice(top, top + rows)
        light = table[samples[part]] if shown is None else shown(samples[part])
        if samples.ndim == 3 and not encoding.has_srgb_primaries:
            light = light @ to_bt709(encoding.chromaticities).T.astype(np.float32)
        result[part] = np.rint(linear_to_srgb(light.clip(0, 1)) * 65535)
    return result


def with_srgb_curve(samples: Pixels, encoding: Encoding) -> NDArray[np.uint16]:
    """Samples h w 3 -> the same light by numbers of the same primaries with sRGB's curve, 16 bits."""
    light = encoding.to_linear(np.linspace(0, 1, int(np.iinfo(samples.dtype).max) + 1))
    table: NDArray[np.uint16] = np.rint(linear_to_srgb(light.clip(0, 1)) * 65535).astype(np.uint16)
    return table[samples]


def _hdr_light(samples: Pixels, table: Floats, encoding: Encoding) -> Callable[[Pixels], Floats]:
    """What turns some rows into light that a screen shows. The brightest light of all of them decides how."""
    luminance = to_xyz(encoding.chromaticities)[1].astype(np.float32)

    def light_of(rows: Pixels) -> Floats:
        light = table[rows]
        return displayed(light, luminance) if encoding.curve == HLG else light

    rows = max(1, STRIP_SAMPLES // max(1, samples[0].size))
    peak = max(float(light_of(samples[top : top + rows]).max()) for top in range(0, len(samples), rows))
    return lambda rows: tone_mapped(light_of(rows), peak)


def displayed(scene: Floats, luminance: Floats) -> Floats:
    """HLG's light of the scene, h w or h w 3 -> light of a display of 1,000 cd/m2, with 1 as diffuse white (BT.2100)."""
    y = scene if scene.ndim == 2 else (scene @ luminance)[..., None]
    return scene * np.asarray(y.clip(1e-6) ** 0.2 * (HLG_PEAK / SDR_WHITE), np.float32)


def tone_mapped(light: Floats, peak: float) -> Floats:
    """Light of any brightness -> [0, 1]: as it is below KNEE, and compressed above, as far as the picture's peak needs it.

    The largest channel is mapped and the others follow, which keeps the hue (Reinhard et al. 2002, equation 4, above the knee).
    """
    if peak <= 1:
        return light
    top = light if light.ndim == 2 else light.max(axis=-1, keepdims=True)
    above, most = (top - KNEE).clip(0) / (1 - KNEE), (peak - KNEE) / (1 - KNEE)
    mapped = np.where(top > KNEE, KNEE + (1 - KNEE) * above * (1 + above / most**2) / (1 + above), top)
    return np.asarray(light * np.divide(mapped, top, out=np.ones_like(top), where=top > 0), np.float32)
