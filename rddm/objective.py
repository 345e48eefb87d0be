"""Network outputs -> (residual, noise, x_0) for every objective, training targets, and the time input of each network.

Arrays are b c h w, NumPy or torch; alpha_bar and beta_bar arrive as Python floats from `rddm.schedule`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rddm.schedule import Schedule
from rddm.spec import Method, ModelSpec, Objective

Array = Any
Head = Literal["res", "noise", "x0", "res_add_noise", "x0_add_noise", "resnoise", "drift"]

# What each output of the network models. One output: one network; two: two networks, a shared encoder, or six channels.
HEADS: dict[Objective, tuple[Head, ...]] = {
    "pred_res": ("res",),
    "pred_noise": ("noise",),
    "pred_x0": ("x0",),
    "pred_res_noise": ("res", "noise"),
    "pred_x0_noise": ("x0", "noise"),
    "pred_res_add_noise": ("res", "res_add_noise"),
    "pred_x0_add_noise": ("x0", "x0_add_noise"),
    "pred_resnoise": ("resnoise",),
    "pred_drift": ("drift",),
}
MIXTURES: tuple[Objective, ...] = ("pred_resnoise", "pred_drift")  # what they model needs `mixture`
SMALLEST_DIVISOR = 1e-6  # the authors' stand-in for 1 - alpha_bar at t = T - 1
DAMPING = 1e-2


@dataclass(frozen=True)
class Prediction:
    """What a step believes, each b c h w: the residual I_res = x_in - x_0, the noise eps, and x_0 (all but eps clipped)."""

    res: Array
    eps: Array
    x_0: Array


def methods(objective: Objective) -> tuple[Method, ...]:
    """Sampling methods that the objective's outputs allow, the natural one first."""
    heads = HEADS[objective]
    if len(heads) == 1:
        return ("SM-N",) if heads[0] == "noise" else ("SM-Res",)
    return ("SM-Res-N", "SM-Res", "SM-N") if heads[1] == "noise" else ("SM-Res-N", "SM-Res")


def check_method(objective: Objective, method: Method | None) -> Method:
    """The method, or the objective's natural one. Raises ValueError if the objective cannot serve it."""
    allowed = methods(objective)
    if method is not None and method not in allowed:
        raise ValueError(f"objective {objective} cannot be sampled with {method!r}; expected one of {list(allowed)}")
    return method or allowed[0]


def targets(
    objective: Objective, x_0: Array, res: Array, eps: Array, mix: tuple[Array | float, Array | float] | None = None
) -> tuple[Array, ...]:
    """What each output is trained towards (spec section 2); arrays b c h w, eps is the noise of x_t itself.

    mix: what `mixture` gives at the pictures' indices, for objectives whose output is a sum of residual and noise.
    """

    def mixed() -> Array:
        if mix is None:
            raise ValueError(f"objective {objective} needs the mixture of residual and noise at t")
        return mix[0] * res + mix[1] * eps

    of_head: dict[Head, Callable[[], Array]] = {
        "res": lambda: res,
        "noise": lambda: eps,
        "x0": lambda: x_0,
        "res_add_noise": lambda: res + eps,
        "x0_add_noise": lambda: x_0 + eps,
        "resnoise": mixed,
        "drift": mixed,
    }
    return tuple(of_head[head]() for head in HEADS[objective])


def mixture(objective: Objective, schedule: Schedule, t: int) -> tuple[float, float]:
    """(a, b) of an output a res + b eps at index t, for the objectives that have one.

    pred_resnoise: eps + (1 - sqrt(a_t)) / (1 - a_t) sqrt(1 - A_t) res, a_t = A_t / A_{t-1} (Resfusion, equation 24).
    pred_drift: (x_t - x_0) / sigma_t = (alpha_bar res + beta_bar eps) / sigma_t, sigma_t^2 = sigma_T^2 alpha_bar (I2SB, 12).
    Raises ValueError for another objective.
    """
    (alpha_bar, beta_bar), (_, before) = schedule.at(t), schedule.at(t - 1)
    if objective == "pred_drift":
        sigma = schedule.bridge * alpha_bar**0.5
        return alpha_bar / sigma, beta_bar / sigma
    if objective == "pred_resnoise":
        kept = (1 - beta_bar**2) / (1 - before**2)
        return beta_bar / (1 + kept**0.5), 1.0
    raise ValueError(f"objective {objective} has no output that mixes residual and noise")


def times(spec: ModelSpec, schedule: Schedule, t: int) -> tuple[float, float]:
    """The time inputs of the residual and the noise network at index t: (t, t), or (alpha_bar_t T, beta_bar_t T).

    A network that models the noise alone gets the noise's time in both places.
    """
    if spec.time_input == "t":
        return float(t), float(t)
    alpha_bar, beta_bar = schedule.at(t)
    noise = beta_bar * spec.timesteps
    return (noise, noise) if spec.objective == "pred_noise" else (alpha_bar * spec.timesteps, noise)


def predict(
    spec: ModelSpec,
    schedule: Schedule,
    outputs: Sequence[Array],
    x_t: Array,
    x_in: Array,
    t: int,
    method: Method | None = None,
) -> Prediction:
    """The outputs at index t as (residual, noise, x_0), clipped as the authors clip (spec section 1.4).

    outputs: one or two arrays b c h w, as HEADS lists them; x_in: b c h w, 0 for generation.
    Raises ValueError for a wrong number of outputs or a method that the objective cannot serve.
    """
    heads = HEADS[spec.objective]
    if len(outputs) != len(heads):
        raise ValueError(f"objective {spec.objective} has {len(heads)} outputs, got {len(outputs)}")
    chosen = check_method(spec.objective, method or spec.method)
    x_t = schedule.lifted(x_t, x_in, t)
    if spec.objective in MIXTURES:
        return _from_mixture(spec, schedule, outputs[0], x_t, x_in, t)
    if chosen == "SM-N":
        return _from_noise(spec, schedule, outputs[-1], x_t, x_in, t)
    return _from_residual(spec, schedule, outputs, x_t, x_in, t, chosen)


def _from_noise(spec: ModelSpec, schedule: Schedule, eps: Array, x_t: Array, x_in: Array, t: int) -> Prediction:
    """SM-N: x_0 = (x_t - alpha_bar x_in - beta_bar eps) / (1 - alpha_bar), from equation 16.

    At t = T - 1 of a restoration schedule 1 - alpha_bar is 0: x_t = x_in + beta_bar eps holds nothing of x_0. The authors divide by
    1e-6 instead, which turns rounding errors into an x_0 of +-1 almost everywhere; `authors` does the same. The default,
    `damped`, is the Tikhonov-regularised solution of (1 - alpha_bar) res = x_in + beta_bar eps - x_t: res = 0 where the
    equation is empty, and within 1 % of the plain inversion once 1 - alpha_bar is over a tenth.
    """
    alpha_bar, beta_bar = schedule.at(t)
    rest = 1 - alpha_bar
    if spec.sm_n_inversion == "authors":
        divisor = SMALLEST_DIVISOR if t == schedule.timesteps - 1 else max(rest, SMALLEST_DIVISOR)
        x_0 = (x_t - alpha_bar * x_in - beta_bar * eps) / divisor
    else:
        weight = 1 / rest if spec.start != "image" and rest > 0 else rest / (rest**2 + DAMPING**2)
        x_0 = x_in - weight * (x_in + beta_bar * eps - x_t)
    x_0 = _clip(x_0, spec.image_clip)
    return Prediction(_clip(x_in - x_0, spec.residual_clip), eps, x_0)


def _from_mixture(spec: ModelSpec, schedule: Schedule, out: Array, x_t: Array, x_in: Array, t: int) -> Prediction:
    """Solves out = a res + b eps and x_t = x_in - (1 - alpha_bar) res + beta_bar eps for the residual.

    I2SB's x_0 = x_t - sigma_t out is that solution with a / b = alpha_bar / beta_bar, also where beta_bar is 0.
    """
    alpha_bar, beta_bar = schedule.at(t)
    if spec.objective == "pred_drift":
        res = x_in - x_t + schedule.bridge * alpha_bar**0.5 * out
    else:
        a, b = mixture(spec.objective, schedule, t)
        res = (x_in - x_t + beta_bar / b * out) / (1 - alpha_bar + beta_bar * a / b)
    x_0 = _clip(x_in - res, spec.image_clip)
    res = _clip(x_in - x_0, spec.residual_clip)
    return Prediction(res, _noise_from_residual(schedule, res, x_t, x_in, t), x_0)


def _from_residual(
    spec: ModelSpec,
    schedule: Schedule,
    outputs: Sequence[Array],
    x_t: Array,
    x_in: Array,
    t: int,
    method: Method,
) -> Prediction:
    """SM-Res and SM-Res-N: the first output is the residual or x_0; the second, if used, gives the noise."""
    heads = HEADS[spec.objective]
    models_x_0 = heads[0] == "x0"
    res = _clip(x_in - outputs[0] if models_x_0 else outputs[0], spec.residual_clip)
    if method == "SM-Res":
        eps = _noise_from_residual(schedule, res, x_t, x_in, t)
    else:
        eps = outputs[1] if heads[1] == "noise" else outputs[1] - outputs[0]
    if models_x_0 and (method == "SM-Res-N" or len(heads) == 2 or spec.residual_clip is None):
        x_0 = outputs[0]  # x_in - res would be the same, less what rounding takes
    elif method == "SM-Res":
        x_0 = x_in - res
    else:
        alpha_bar, beta_bar = schedule.at(t)
        x_0 = x_t - alpha_bar * res - beta_bar * eps
    return Prediction(res, eps, _clip(x_0, spec.image_clip))


def _noise_from_residual(schedule: Schedule, res: Array, x_t: Array, x_in: Array, t: int) -> Array:
    """eps = (x_t - x_in - (alpha_bar - 1) res) / beta_bar (equation 16); 0 where the schedule has no noise at t."""
    alpha_bar, beta_bar = schedule.at(t)
    if beta_bar == 0:
        return 0 * res
    return (x_t - x_in - (alpha_bar - 1) * res) / beta_bar


def _clip(x: Array, bound: float | None) -> Array:
    return x if bound is None else x.clip(-bound, bound)
