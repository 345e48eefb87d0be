"""alpha_bar and beta_bar tables, and the forward process (equations 7 and 16 of the paper).

Index t runs over 0..T-1 (the paper's t - 1); t = -1 stands for the clean image, where both are 0. Tables are float64. Those
whose authors computed in float32 hold float32 values: sums exactly theirs, square roots within one unit in the last place (6e-8).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.spec import AnySchedule, Curve, ModelSpec, TableSchedule

Table = NDArray[np.float64]
Array = Any  # a NumPy array or a torch tensor: this package never asks which


def _normalised(weights: NDArray[Any]) -> NDArray[Any]:
    share: NDArray[Any] = weights / weights.sum()
    return share


def _ramp(timesteps: int, exponent: float) -> NDArray[Any]:
    return _normalised(np.arange(1, timesteps + 1, dtype=np.float64) ** exponent)


def _linspace_ramp(timesteps: int, exponent: float) -> NDArray[Any]:
    if timesteps < 2:
        raise ValueError("a linspace schedule needs at least 2 timesteps")
    return _normalised(np.linspace(0, 1, timesteps, dtype=np.float32) ** np.float32(exponent))


def _quadratic(timesteps: int, _exponent: float) -> NDArray[Any]:
    """Increments of ((t + 1) / T)^2: with alpha `average`, beta_bar grows as alpha_bar does (InDI with a constant epsilon)."""
    return _normalised(np.arange(1, 2 * timesteps, 2, dtype=np.float64))


def _diffuir(timesteps: int, _exponent: float) -> NDArray[Any]:
    """DiffUIR's delta, linspace(1e-6, 1.8e-3), as shares; its sum over 1,000 indices, 0.9005, is the delta_scale."""
    return _normalised(from_both_ends(1e-6, 1.8e-3, timesteps).astype(np.float64))


def _i2sb(timesteps: int, _exponent: float) -> NDArray[Any]:
    """I2SB's symmetric beta (small at both ends, linear in the root from 1e-4 to 3e-4 in the middle), as shares."""
    half = np.linspace(1e-4**0.5, 3e-4**0.5, timesteps) ** 2
    rising = half[: -(-timesteps // 2)]
    return _normalised(np.concatenate([rising, rising[: timesteps // 2][::-1]]))


def _normal(timesteps: int, _exponent: float) -> NDArray[Any]:
    x = np.linspace(-3, 3, timesteps, dtype=np.float32)
    return _normalised(np.exp(-(x**2) / 2) / np.float32(np.sqrt(2 * np.pi)))


# Each maker gives the T increments of a curve, which sum to 1; the dtype is that of the authors' arithmetic: float64 in their early
# version, float32 in the later ones, whose ramps are np.linspace(0, 1, T).
RAMPS: dict[str, Callable[[int, float], NDArray[Any]]] = {
    "increased": _ramp,
    "decreased": lambda timesteps, exponent: np.flip(_ramp(timesteps, exponent)),
    "increased_linspace": _linspace_ramp,
    "decreased_linspace": lambda timesteps, exponent: np.flip(_linspace_ramp(timesteps, exponent)),
    "average": lambda timesteps, _exponent: np.full(timesteps, 1 / timesteps),
    "average_linspace": lambda timesteps, _exponent: np.full(timesteps, 1 / timesteps, dtype=np.float32),
    "normal": _normal,
    "quadratic": _quadratic,
    "diffuir": _diffuir,
    "i2sb": _i2sb,
}


def _resshift(timesteps: int, exponent: float) -> Table:
    """ResShift's eta_t: sqrt(eta_t) geometric from 0.04 / kappa (kappa 2) to sqrt(0.999), warped by p = exponent.

    Its noise schedule; the authors' code ends at sqrt(eta_T) = 0.99.
    """
    place = (np.arange(timesteps) / max(timesteps - 1, 1)) ** exponent
    return np.asarray((0.02 * (0.999**0.5 / 0.02) ** place) ** 2)


# Curves that are given by their running sums.
SUMS: dict[str, Callable[[int, float], Table]] = {"resshift": _resshift}


def from_both_ends(first: float, last: float, count: int) -> NDArray[np.float32]:
    """torch.linspace in float32, bit for bit: each half counts from its own end, and rounds once."""
    start, end = np.float32(first), np.float32(last)
    step = (end - start) / np.float32(max(count - 1, 1))
    i = np.arange(count, dtype=np.float64)
    values = np.where(i < count // 2, float(start) + float(step) * i, float(end) - float(step) * (count - 1 - i))
    return np.asarray(values, dtype=np.float32)


def _linear_betas(timesteps: int) -> NDArray[np.float32]:
    return from_both_ends(1e-4, 0.02, timesteps)


def _scaled_linear_betas(timesteps: int) -> NDArray[np.float32]:
    return from_both_ends(1e-4**0.5, 0.02**0.5, timesteps) ** 2


def _cosine_betas(timesteps: int) -> NDArray[np.float32]:
    u = np.arange(timesteps + 1) / timesteps
    level = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.asarray(np.minimum(1 - level[1:] / level[:-1], 0.999), dtype=np.float32)


# DDIM's beta schedules by diffusers' names; spec: alpha_bar = 1 - sqrt(A), beta_bar^2 = 1 - A, A = cumprod(1 - beta).
DDIM_BETAS: dict[str, Callable[[int], NDArray[np.float32]]] = {
    "ddim_linear": _linear_betas,
    "ddim_scaled_linear": _scaled_linear_betas,
    "ddim_cosine": _cosine_betas,
}
RESFUSION = "resfusion"
BRIDGE = "bridge"
CURVES = (*RAMPS, *SUMS, *DDIM_BETAS, RESFUSION)


def alphas_cumprod(name: str, timesteps: int) -> NDArray[Any]:
    """DDIM's A_t = prod(1 - beta_s), float32 as diffusers computes it (products kept in double), shape (T,).

    `resfusion`: linear betas scaled by 1000 / T, ended by sqrt(A) = 1/2 (Resfusion, equations 26 and 27), where x_t is
    x_in / 2 and noise; float64. What follows is never reached and stays there.
    """
    if name == RESFUSION:
        roots = np.sqrt(np.cumprod(1 - np.minimum(np.linspace(0.1, 20, timesteps) / timesteps, 0.999)))
        end = int(np.argmax(roots <= 0.5))
        roots[end:] = roots[end] if roots[end] >= 0.49 else 0.5
        return np.asarray(roots**2)
    factors = np.float32(1) - DDIM_BETAS[name](timesteps)
    return np.cumprod(factors, dtype=np.float64).astype(np.float32)


def increments(curve: Curve, timesteps: int) -> NDArray[Any]:
    """The T increments of a named curve, summing to 1, in the precision of the authors' arithmetic.

    Raises ValueError, with the list of names, for an unknown one or for DDIM's, which are given by their cumulative values.
    """
    if curve.name not in RAMPS:
        raise ValueError(f"unknown schedule {curve.name!r}; expected one of {sorted(CURVES)}")
    return RAMPS[curve.name](timesteps, curve.exponent)


def _accumulated(parts: NDArray[Any], highest: float = 1.0) -> NDArray[Any]:
    """Running sum clipped to [0, highest], in double, rounded to the parts' own precision."""
    total: NDArray[Any] = np.cumsum(parts, dtype=np.float64).astype(parts.dtype).clip(0, highest)
    return total


def _keeps_variance(curve: Curve) -> bool:
    return curve.name in DDIM_BETAS or curve.name == RESFUSION


def _taken(curve: Curve, timesteps: int) -> Table:
    """A curve's running sum, shape (T,), in [0, 1]: 1 - sqrt(A) for those of DDIM's kind."""
    if _keeps_variance(curve):
        return np.asarray(1 - np.sqrt(alphas_cumprod(curve.name, timesteps)), dtype=np.float64)
    if curve.name in SUMS:
        return SUMS[curve.name](timesteps, curve.exponent)
    return _accumulated(increments(curve, timesteps)).astype(np.float64)


def _alpha_bar(curve: Curve, timesteps: int) -> Table:
    """Resfusion's x_t = sqrt(A) x_0 + (1 - sqrt(A)) R + sqrt(1 - A) eps (its equation 20) holds 2 sqrt(A) - 1 of x_0."""
    table = _taken(curve, timesteps)
    return 2 * table if curve.name == RESFUSION else table


def _beta_bar(curve: Curve, timesteps: int, sum_scale: float) -> Table:
    """Square roots are taken in the table's own precision; torch's float32 root (MKL) may differ by one unit in the last place."""
    if _keeps_variance(curve):
        return np.asarray(np.sqrt(1 - alphas_cumprod(curve.name, timesteps)), dtype=np.float64)
    if curve.name in SUMS:
        return np.sqrt(sum_scale * _taken(curve, timesteps))
    parts = increments(curve, timesteps)
    total = _accumulated(parts * parts.dtype.type(sum_scale), max(1.0, sum_scale))
    return np.asarray(np.sqrt(total), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Schedule:
    """alpha_bar_t and beta_bar_t, float64, shape (T,); start_noise = sqrt(sum_scale) scales the noise of x_T.

    delta_bar_t: how much of x_in is taken away from x_t (DiffUIR, section 3.2); None for none.
    bridge: sigma_T of I2SB's bridge, whose start has no noise; 0 for others.
    """

    alpha_bar: Table
    beta_bar: Table
    start_noise: float
    delta_bar: Table | None = None
    bridge: float = 0.0

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alpha_bar)

    def at(self, t: int) -> tuple[float, float]:
        """(alpha_bar_t, beta_bar_t) as Python floats; (0, 0) at t = -1."""
        if not -1 <= t < self.timesteps:
            raise ValueError(f"t = {t} is outside -1..{self.timesteps - 1}")
        return (0.0, 0.0) if t == -1 else (float(self.alpha_bar[t]), float(self.beta_bar[t]))

    def lifted(self, x_t: Array, x_in: Array, t: int) -> Array:
        """x_t + delta_bar_t x_in, which obeys the equations of a schedule without delta: all of them are applied to it."""
        return x_t if self.delta_bar is None or t < 0 else x_t + float(self.delta_bar[t]) * x_in

    def lowered(self, x: Array, x_in: Array, t: int) -> Array:
        """The inverse of lifted."""
        return x if self.delta_bar is None or t < 0 else x - float(self.delta_bar[t]) * x_in

    @cached_property
    def alphas(self) -> Table:
        """alpha_t = alpha_bar_t - alpha_bar_{t-1}, shape (T,)."""
        return np.diff(self.alpha_bar, prepend=0.0)

    @cached_property
    def betas2(self) -> Table:
        """beta_t^2 = beta_bar_t^2 - beta_bar_{t-1}^2, shape (T,)."""
        return np.diff(self.beta_bar**2, prepend=0.0)

    def diffuse(self, x_0: Array, x_in: Array, eps: Array, t: int) -> Array:
        """x_t = x_0 + alpha_bar_t (x_in - x_0) + beta_bar_t eps (equation 7), less delta_bar_t x_in where there is a delta.

        Arrays b c h w, one t for all.
        """
        alpha_bar, beta_bar = self.at(t)
        return self.lowered(x_0 + alpha_bar * (x_in - x_0) + beta_bar * eps, x_in, t)


def make_schedule(spec: AnySchedule, timesteps: int) -> Schedule:
    """The tables that the spec names. Raises ValueError, with the list, for an unknown name."""
    start_noise = float(spec.sum_scale) ** 0.5
    if isinstance(spec, TableSchedule):
        delta_bar = None if spec.delta_bar is None else np.asarray(spec.delta_bar)
        return Schedule(np.asarray(spec.alpha_bar), np.asarray(spec.beta_bar), start_noise, delta_bar)
    alpha_bar = _alpha_bar(spec.alpha, timesteps)
    delta_bar = None if spec.delta is None else spec.delta_scale * _taken(spec.delta, timesteps)
    if spec.beta2.name == BRIDGE:
        return Schedule(alpha_bar, _bridge(alpha_bar, spec.sum_scale), 0.0, delta_bar, start_noise)
    return Schedule(alpha_bar, _beta_bar(spec.beta2, timesteps, spec.sum_scale), start_noise, delta_bar)


def _bridge(alpha_bar: Table, variance: float) -> Table:
    """I2SB, equation 11: beta_bar^2 = sigma^2 sigma_bar^2 / sigma_T^2 between fixed ends, alpha_bar = sigma^2 / sigma_T^2."""
    return np.sqrt(variance * alpha_bar * (1 - alpha_bar))


@lru_cache(maxsize=32)
def schedule_of(spec: ModelSpec) -> Schedule:
    """The tables of a model's spec, made once."""
    return make_schedule(spec.schedule, spec.timesteps)


def with_curves(schedule: Schedule, alpha: Curve | None, beta2: Curve | None) -> Schedule:
    """The schedule with alpha_bar or beta_bar exchanged at test time (section 4 of the paper: partially path-independent)."""
    if alpha is not None:
        schedule = replace(schedule, alpha_bar=_alpha_bar(alpha, schedule.timesteps))
    if beta2 is not None:
        schedule = replace(schedule, beta_bar=_beta_bar(beta2, schedule.timesteps, schedule.start_noise**2))
    return schedule
