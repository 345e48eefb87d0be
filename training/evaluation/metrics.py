"""Figures of merit of a restored picture against its target, by MATLAB's conventions. Pictures are uint8, h w 3, RGB.

The authors' evaluation scripts are MATLAB; what they call is spelled out here: rgb2ycbcr, ssim_index (Wang et al. 2004), ssim on a
colour picture (a volume of three slices), imresize, makecform('srgb2lab').
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.ndimage import correlate1d

from training.colour import to_linear

Picture = NDArray[np.uint8]
Field = NDArray[np.float64]

PEAK = 255.0
LUMA = np.array([65.481, 128.553, 24.966]) / 255
SSIM_RADIUS, SSIM_SIGMA = 5, 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
# Linear sRGB -> XYZ relative to D50 (Bradford), and D50 itself: the profile connection space of ICC conversions.
TO_XYZ = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
D50 = np.array([0.9642, 1.0, 0.8249])


def luma(picture: Picture) -> Picture:
    """Y of rgb2ycbcr: 16..235, rounded to bytes, h w."""
    return np.asarray(np.rint(16 + picture @ LUMA), dtype=np.uint8)


def psnr(answer: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in dB over all values, peak 255; inf for equal pictures."""
    error = np.square(answer.astype(np.float64) - target).mean()
    return math.inf if error == 0 else float(10 * np.log10(PEAK**2 / error))


def mean_matched(answer: Picture, target: Picture) -> Picture:
    """The restored picture scaled to the target's mean brightness: what of an error is mere exposure drops out."""
    gain = target.mean() / max(float(answer.mean()), 1e-6)
    return np.rint((answer * gain).clip(0, PEAK)).astype(np.uint8)


def _window() -> Field:
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _smooth(field: Field, axes: tuple[int, ...]) -> Field:
    for axis in axes:
        field = correlate1d(field, _window(), axis=axis, mode="nearest")
    return field


def _ssim_map(answer: NDArray[np.uint8], target: NDArray[np.uint8], axes: tuple[int, ...]) -> Field:
    a, b = answer.astype(np.float64), target.astype(np.float64)
    mean_a, mean_b = _smooth(a, axes), _smooth(b, axes)
    variance_a = _smooth(a * a, axes) - mean_a**2
    variance_b = _smooth(b * b, axes) - mean_b**2
    covariance = _smooth(a * b, axes) - mean_a * mean_b
    return ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2))


def ssim_y(answer: Picture, target: Picture) -> float:
    """ssim_index on Y: 11x11 Gaussian window, sigma 1.5, only where it lies wholly inside. Raises ValueError under 11 pixels."""
    if min(answer.shape[:2]) < 2 * SSIM_RADIUS + 1:
        raise ValueError(f"SSIM needs at least 11 x 11 pixels, got {answer.shape[0]} x {answer.shape[1]}")
    inside = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return float(_ssim_map(luma(answer), luma(target), (0, 1))[inside, inside].mean())


def ssim_rgb(answer: Picture, target: Picture) -> float:
    """ssim of a colour picture as MATLAB takes it: a volume, Gaussian along colours too, borders repeated."""
    return float(_ssim_map(answer, target, (0, 1, 2)).mean())


def lab(picture: NDArray[np.uint8] | Field) -> Field:
    """CIELab (D50) of sRGB; bytes, or values in 0..1; h w 3."""
    values = picture / PEAK if picture.dtype == np.uint8 else picture
    linear = to_linear(values)
    xyz = linear @ TO_XYZ.T / D50
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def mae_lab(answer: Picture, target: Picture, mask: NDArray[np.bool_] | None = None) -> float:
    """ISTD's "RMSE": the sum over L, a, b of the mean absolute difference, over the mask (h w) if there is one.

    Raises ValueError for a mask without a pixel.
    """
    difference = np.abs(lab(answer) - lab(target)).sum(axis=-1)
    if mask is not None and not mask.any():
        raise ValueError("the mask selects no pixel")
    return float(difference.mean() if mask is None else difference[mask].mean())


def _cubic(x: Field) -> Field:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _resize_weights(length: int, wanted: int) -> tuple[NDArray[np.intp], Field]:
    """Per output sample the input samples it sees (mirrored at the ends) and their weights; the kernel widens when shrinking."""
    scale = wanted / length
    stretch = min(scale, 1.0)
    width = 4 / stretch
    centre = (np.arange(wanted) + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2).astype(np.intp)
    samples = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * _cubic(stretch * (centre[:, None] - samples))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    return mirror[(samples - 1) % (2 * length)], weights


def imresize(picture: Picture, height: int, width: int) -> Picture:
    """MATLAB's imresize of bytes, bicubic with antialiasing; the side that shrinks more goes first, each pass rounds to bytes."""
    passes = sorted([(height / picture.shape[0], 0, height), (width / picture.shape[1], 1, width)])
    for scale, axis, wanted in passes:
        if scale != 1:
            picture = _resize_along(picture, axis, wanted)
    return picture


def _resize_along(picture: Picture, axis: int, wanted: int) -> Picture:
    samples, weights = _resize_weights(picture.shape[axis], wanted)
    lines = np.moveaxis(picture, axis, 0).astype(np.float64)
    result = np.zeros((wanted, *lines.shape[1:]))
    for column in range(samples.shape[1]):
        result += weights[:, column, None, None] * lines[samples[:, column]]
    return np.moveaxis(np.floor(result + 0.5).clip(0, PEAK).astype(np.uint8), 0, axis)


def frechet_distance(features: Field, reference: Field) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) between Gaussians fitted to two sets of features, each (n, d).

    Raises ValueError for fewer than two of either.
    """
    if min(len(features), len(reference)) < 2:
        raise ValueError(f"a Frechet distance needs two pictures of each, got {len(features)} and {len(reference)}")
    (mean_a, cov_a), (mean_b, cov_b) = (
        (rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False))) for rows in (features, reference)
    )
    # The trace of the root of S1 S2 is that of the symmetric root(S1) S2 root(S1), which has real eigenvalues.
    root = _symmetric_root(cov_a)
    shared = np.sqrt(linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared)


def _symmetric_root(matrix: Field) -> Field:
    values, vectors = linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values.clip(min=0))) @ vectors.T, dtype=np.float64)


def inception_score(probabilities: Field, splits: int = 10) -> float:
    """exp(E KL(p(y|x) || p(y))) of class probabilities (n, classes), the mean over splits."""
    scores = []
    for part in np.array_split(probabilities, splits):
        known = part.clip(min=1e-16)
        scores.append(np.exp((known * (np.log(known) - np.log(known.mean(axis=0)))).sum(axis=1).mean()))
    return float(np.mean(scores))


Measure = Callable[[Picture, Picture], float]

MEASURES: Mapping[str, Measure] = {
    "psnr_rgb": psnr,
    "ssim_rgb": ssim_rgb,
    "psnr_y": lambda answer, target: psnr(luma(answer), luma(target)),
    "ssim_y": ssim_y,
    "psnr_mean_matched": lambda answer, target: psnr(mean_matched(answer, target), target),
    "mae_lab": mae_lab,
}
