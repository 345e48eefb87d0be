"""Timesteps and the update, as a conversation: it asks about (x_t, t) and gets (residual, noise, x_0).

    sampling = sample(spec, schedule, x_in, noise)
    question = next(sampling)                       # a Question
    question = sampling.send(prediction)            # ... until StopIteration, whose value is x_0

The same generator is driven synchronously by training and tests (`run`), asynchronously by the service.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rddm.objective import Prediction, times
from rddm.schedule import Schedule, from_both_ends
from rddm.spec import ModelSpec

Array = Any
Noise = Callable[[int], Array]  # the k-th noise field of a picture, k = 0 for the start


@dataclass(frozen=True)
class Question:
    """What the network is asked: x_t (b c h w) at index t, the time input of each head, and that this is call `step` of `steps`."""

    x_t: Array
    t: int
    time: tuple[float, float]
    step: int
    steps: int


Sampling = Generator[Question, Prediction, Array]
Removal = Literal["both", "residual", "noise"]
PASSES: dict[str, tuple[Removal, ...]] = {
    "simultaneous": ("both",),
    "residual_first": ("residual", "noise"),
    "noise_first": ("noise", "residual"),
    "decoupled": ("residual", "noise"),
    "residual_only": ("residual",),
}


def philox_noise(seed: int, channels: int, height: int, width: int) -> Callable[[int], NDArray[np.float32]]:
    """The noise of one picture: field k is (1, channels, height, width), float32, N(0, 1), from Philox keyed by (seed, k).

    It depends on the seed and the whole picture's size alone, never on engine, device, tiling or what else is in a batch.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed} is outside 0..2^63-1")

    def field(k: int) -> NDArray[np.float32]:
        generator = np.random.Generator(np.random.Philox(key=[seed, k]))
        return generator.standard_normal((1, channels, height, width), dtype=np.float32)

    return field


def timesteps(spec: ModelSpec, steps: int) -> list[int]:
    """The S indices at which the networks are asked, descending, then -1.

    `even`: T i // S - 1. `authors`: their float32 linspace, truncated, which lands one lower at 84 of 1000 step counts.
    `leading`: diffusers' grid, (S-1) T//S, ..., T//S, 0, then -1. Where spec.begin is below 1, T is that
    share of it. Raises ValueError for steps outside 1..T.
    """
    total = spec.first_index + 1
    if not 1 <= steps <= total:
        raise ValueError(f"steps = {steps} is outside 1..{total}")
    if spec.grid == "authors":
        grid = [int(x) for x in from_both_ends(-1, total - 1, steps + 1)]
    elif spec.grid == "leading":
        grid = [-1, *(total // steps * i for i in range(steps))]
    else:
        grid = [total * i // steps - 1 for i in range(steps + 1)]
    return grid[::-1]


def calls(spec: ModelSpec, steps: int) -> int:
    """Network calls of `steps` steps: once for every pass that the spec's order has."""
    passes = PASSES[spec.order]
    return sum(_steps_of(spec, remove, steps) for remove in passes)


def _steps_of(spec: ModelSpec, remove: Removal, steps: int) -> int:
    alone = len(PASSES[spec.order]) == 1
    return spec.residual_steps if spec.residual_steps and remove == "residual" and not alone else steps


def update(
    spec: ModelSpec,
    schedule: Schedule,
    x_t: Array,
    p: Prediction,
    t: int,
    t_next: int,
    noise: Callable[[], Array],
    remove: Removal = "both",
    x_in: Array = 0.0,
) -> Array:
    """One step t -> t' (equations 12 and 13; over skipped steps beta_t^2 = beta_bar_t^2 - beta_bar_t'^2). At t' = -1 it is x_0.

    sigma^2 = eta beta_t^2 beta_bar_t'^2 / beta_bar_t^2. noise gives z, and is called only where it is added.
    remove: `residual` or `noise` leaves the other where it is (the two-pass orders; update `noise` only).
    `recomposed` builds x_t' from the clipped x_0 and residual instead of subtracting from x_t: DDIM's equation 12 under clipping.
    `ancestral` draws from the posterior q(x_t' | x_t, x_0, res), the authors' sampler where S = T; eta is not asked.
    `interpolated` moves x_t towards x_0 and asks nothing of x_in (see _interpolated).
    x_in: b c h w; asked only of schedules with a delta.
    """
    if t_next < 0 and spec.order != "decoupled":
        return p.x_0
    lifted = schedule.lifted(x_t, x_in, t)
    return schedule.lowered(_step(spec, schedule, lifted, p, t, t_next, noise, remove), x_in, t_next)


def _step(
    spec: ModelSpec,
    schedule: Schedule,
    x_t: Array,
    p: Prediction,
    t: int,
    t_next: int,
    noise: Callable[[], Array],
    remove: Removal,
) -> Array:
    (alpha_bar, beta_bar), (alpha_next, beta_next) = schedule.at(t), schedule.at(t_next)
    if spec.update == "ancestral":
        return _ancestral(p, x_t, (alpha_bar, beta_bar**2), (alpha_next, beta_next**2), noise)
    if spec.update == "interpolated":
        return _interpolated(spec.eta, p.x_0, x_t, (alpha_bar, beta_bar**2), (alpha_next, beta_next**2), noise)
    kept = max(beta_next**2 - sigma_squared(spec, schedule, t, t_next), 0.0) ** 0.5
    if spec.update == "recomposed":
        x = p.x_0 + alpha_next * p.res + kept * p.eps
    else:
        x = x_t
        if remove != "noise":
            x = x - (alpha_bar - alpha_next) * p.res
        if remove != "residual":
            x = x - (beta_bar - kept) * p.eps
    return x + _added(spec, schedule, t, t_next) ** 0.5 * noise() if spec.eta else x


def _ancestral(
    p: Prediction, x_t: Array, now: tuple[float, float], after: tuple[float, float], noise: Callable[[], Array]
) -> Array:
    """Posterior mean and noise from (alpha_bar, beta_bar^2) at t and t'."""
    (alpha_bar, b2), (alpha_next, b2_next) = now, after
    if b2 == 0:
        return p.x_0 + alpha_next * p.res
    step2 = b2 - b2_next
    mean = (b2_next * x_t + (step2 * alpha_next - b2_next * (alpha_bar - alpha_next)) * p.res + step2 * p.x_0) / b2
    return mean + (step2 * b2_next / b2) ** 0.5 * noise()


def _interpolated(
    eta: float, x_0: Array, x_t: Array, now: tuple[float, float], after: tuple[float, float], noise: Callable[[], Array]
) -> Array:
    """x_t' = k x_t + (1 - k) x_0 + sigma z, k = alpha_bar_t' / alpha_bar_t, sigma^2 = eta (beta_bar_t'^2 - k^2 beta_bar_t^2).

    By its schedule it is InDI's step (alpha_bar = t, beta_bar = t epsilon_t), I2SB's posterior (equations 4 and 11: beta2 `bridge`,
    eta 1; without noise its OT-ODE), and ResShift's reverse step (beta_bar^2 = kappa^2 alpha_bar).
    """
    (alpha_bar, b2), (alpha_next, b2_next) = now, after
    if alpha_bar == 0:
        return x_0
    share = alpha_next / alpha_bar
    x = share * x_t + (1 - share) * x_0
    return x + (eta * max(b2_next - share**2 * b2, 0.0)) ** 0.5 * noise() if eta else x


def sigma_squared(spec: ModelSpec, schedule: Schedule, t: int, t_next: int) -> float:
    """Variance that a step takes from eps: eta (b^2 - b'^2) b'^2 / b^2, or DDIM's eta^2 times its own (equation 16)."""
    (_, beta_bar), (_, beta_next) = schedule.at(t), schedule.at(t_next)
    if beta_bar == 0:
        return 0.0
    share = (beta_bar**2 - beta_next**2) * beta_next**2 / beta_bar**2
    return spec.eta * share if spec.variance == "rddm" else spec.eta**2 * share / (1 - beta_next**2)


def _added(spec: ModelSpec, schedule: Schedule, t: int, t_next: int) -> float:
    """Variance that a step adds: what it took from eps, or DDPM's larger choice, 1 - A_t / A_t' (section 3.2; SR3's)."""
    if spec.variance != "ddpm_large":
        return sigma_squared(spec, schedule, t, t_next)
    (_, beta_bar), (_, beta_next) = schedule.at(t), schedule.at(t_next)
    return spec.eta**2 * (beta_bar**2 - beta_next**2) / (1 - beta_next**2)


def start(spec: ModelSpec, schedule: Schedule, x_in: Array, eps: Array) -> Array:
    """x_T = x_in + sqrt(sum_scale) eps, less delta_bar_T x_in; for generation x_T = eps.

    `diffused`: (1 - alpha_bar) x_in + beta_bar eps at the first index, as SDEdit's guide (its VP form).
    """
    if spec.start == "noise":
        return eps
    if spec.start == "diffused":
        alpha_bar, beta_bar = schedule.at(spec.first_index)
        return (1 - alpha_bar) * x_in + beta_bar * eps
    return schedule.lowered(x_in + schedule.start_noise * eps, x_in, spec.first_index)


def sample(spec: ModelSpec, schedule: Schedule, x_in: Array, noise: Noise, steps: int | None = None) -> Sampling:
    """The reverse process from x_in (b c h w in [-1, 1]; zeros for generation) to x_0, in `steps` network calls a pass.

    noise(k) is the k-th field, shaped like x_in: 0 starts, the next ones serve the steps that add noise, as they come.
    A second pass (spec.order) starts at T - 1 again, from the x_0 of the first, as the authors' does.
    Raises ValueError for steps outside 1..T.
    """
    steps = steps or spec.default_steps
    fields = map(noise, count(1))
    x_t = start(spec, schedule, x_in, noise(0))
    plan = [(remove, *step) for remove in PASSES[spec.order] for step in pairwise(timesteps(spec, _steps_of(spec, remove, steps)))]
    for i, (remove, t, t_next) in enumerate(plan, start=1):
        question = Question(x_t, t, times(spec, schedule, t), i, len(plan))
        # No name for the answer: it would hold three arrays of the picture's size until the next one comes.
        x_t = update(spec, schedule, x_t, (yield question), t, t_next, partial(next, fields), remove, x_in)
    return x_t


def run(sampling: Sampling, answer: Callable[[Question], Prediction]) -> Array:
    """Hold the conversation to its end, answering each question; the result is x_0."""
    *_, last = trace(sampling, answer)
    return last


def trace(sampling: Sampling, answer: Callable[[Question], Prediction]) -> Iterator[Array]:
    """Like run, giving x_t of every question in turn, and x_0 at last."""
    question = next(sampling)
    while True:
        yield question.x_t
        try:
            question = sampling.send(answer(question))
        except StopIteration as end:
            yield end.value
            return
