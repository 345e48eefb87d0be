"""Which specs sample alike: a spec in the form of another method, if every network's pictures stay the same.

A form is how a step is taken (update, variance, eta, order). Schedule, start and objective stay: the network stays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rddm.objective import HEADS, predict
from rddm.relatives import relative_spec
from rddm.sampler import Question, philox_noise, run, sample
from rddm.schedule import Schedule, make_schedule
from rddm.spec import ModelSpec

Field = NDArray[np.float64]
Network = Callable[[Field, Field, int], Field]

NETWORKS, SHAPE, STEPS = 100, (1, 3, 8, 8), (1, 2, 5, 10)
TOLERANCE = 1e-6


class Conversion(NamedTuple):
    """The spec in its new form, and the largest difference of a picture from the old form's, over 100 random networks."""

    spec: ModelSpec
    difference: float


def random_network(seed: int) -> Network:
    """A smooth function of x_t, x_in, a neighbour of x_t and t, with answers in about [-1.5, 1.5]; float64 in and out."""
    a, b, c, d, e = np.random.default_rng(seed).uniform(-1, 1, 5)
    return lambda x_t, x_in, t: 1.5 * np.tanh(a * x_t + b * x_in + c * np.roll(x_t, 1, -1) + d * t / 1000 + e)


def sampled(spec: ModelSpec, network: Network, steps: int, seed: int) -> Field:
    """x_0, float64, from an x_in drawn from the seed; zeros for generation."""
    schedule, draw = make_schedule(spec.schedule, spec.timesteps), philox_noise(seed, *SHAPE[1:])
    x_in = np.zeros(SHAPE) if spec.generates else np.random.default_rng(seed).uniform(-1, 1, SHAPE)

    def answer(question: Question) -> Any:
        outputs = [network(question.x_t, x_in, question.t) * (1 + head) for head in range(len(HEADS[spec.objective]))]
        return predict(spec, schedule, outputs, question.x_t, x_in, question.t)

    result: Field = run(sample(spec, schedule, x_in, lambda k: draw(k).astype(np.float64), steps), answer)
    return result


def difference(one: ModelSpec, other: ModelSpec) -> float:
    """The largest difference between the pictures of two specs over 100 random networks, at 1, 2, 5 and 10 steps where allowed."""
    allowed = [steps for steps in STEPS if steps <= min(one.first_index, other.first_index) + 1]
    worst = 0.0
    for seed in range(NETWORKS):
        network, steps = random_network(seed), allowed[seed % len(allowed)]
        worst = max(worst, float(np.abs(sampled(one, network, steps, seed) - sampled(other, network, steps, seed)).max()))
    return worst


def convert(spec: ModelSpec, relative: str) -> Conversion:
    """The spec in the form of a relative. Raises ValueError where no such form makes the same pictures, saying why."""
    form = relative_spec(relative, name=spec.name, task=spec.task, licence=spec.licence, image_size=(64, 64))
    starts = (form.start, "noise") if relative == "rddm" else (form.start,)
    if spec.order != form.order or spec.start not in starts:
        raise ValueError(
            f"{spec.name} is no {relative!r}: it starts from {spec.start!r} in order {spec.order!r}, that from {form.start!r} in "
            f"{form.order!r}"
        )
    process = PROCESSES[relative]
    if not process.holds(make_schedule(spec.schedule, spec.timesteps)):
        raise ValueError(f"{spec.name} is no {relative!r}: its schedule is not one of {process.words}")
    tried = [Conversion(changed, difference(spec, changed)) for changed in _forms(spec, form, relative)]
    best = min(tried, key=lambda conversion: conversion.difference)
    if not best.difference <= TOLERANCE:
        raise ValueError(
            f"{spec.name} is no {relative!r} by another name: over {NETWORKS} random networks its pictures differ by up to "
            f"{best.difference:.2g}, and {TOLERANCE} is allowed{_advice(spec, best.spec)}"
        )
    return best


def _forms(spec: ModelSpec, form: ModelSpec, relative: str) -> list[ModelSpec]:
    """The spec with the form's step; RDDM and DDIM are families, of any eta, and RDDM has its ancestral sampler beside."""
    changes: list[dict[str, Any]] = [{"update": form.update, "variance": form.variance, "eta": form.eta}]
    if relative in FAMILIES:
        changes = [{**changes[0], "eta": eta} for eta in dict.fromkeys((spec.eta, 0.0, 1.0))]
    if relative == "rddm":
        changes.append({"update": "ancestral", "eta": 0.0})
    return [ModelSpec.model_validate({**spec.model_dump(), **change}) for change in changes]


def _advice(spec: ModelSpec, changed: ModelSpec) -> str:
    free = {"image_clip": None, "residual_clip": None}
    unclipped = [one.model_copy(update=free) for one in (spec, changed)]
    return "; without clipping they would be the same" if difference(*unclipped) <= TOLERANCE else ""


class Process(NamedTuple):
    """What a method's forward process must satisfy, in words and as a test of the tables."""

    words: str
    holds: Callable[[Schedule], bool]


def _proportional(one: Field, other: Field) -> bool:
    return bool(np.allclose(one * other[-1], other * one[-1], atol=1e-6))


def _keeps_variance(schedule: Schedule) -> bool:
    return bool(np.abs((1 - schedule.alpha_bar) ** 2 + schedule.beta_bar**2 - 1).max() <= 1e-4)


def _no_delta(schedule: Schedule) -> bool:
    return schedule.delta_bar is None


def _image_taken_away(schedule: Schedule) -> bool:
    return schedule.delta_bar is not None and np.allclose(schedule.delta_bar, schedule.alpha_bar)


FAMILIES = ("rddm", "ddim")
_PLAIN = Process("those without delta", _no_delta)
_DDPM = Process("those that keep the variance, (1 - alpha_bar)^2 + beta_bar^2 = 1", lambda s: _no_delta(s) and _keeps_variance(s))
_BESIDE = Process("those that keep the variance, with delta = alpha", lambda s: _image_taken_away(s) and _keeps_variance(s))
_NOISELESS = Process("those without noise", lambda s: _no_delta(s) and not s.beta_bar.any())
_BROWNIAN = Process(
    "those with beta_bar^2 proportional to alpha_bar", lambda s: _no_delta(s) and _proportional(s.beta_bar**2, s.alpha_bar)
)
PROCESSES: dict[str, Process] = {
    **{"rddm": _PLAIN, "drdd": _PLAIN, "ddpm": _DDPM, "ddim": _DDPM},
    **dict.fromkeys(("sr3", "weatherdiffusion", "sdedit"), _BESIDE),
    **dict.fromkeys(("cold", "cold-naive", "i2sb-ode"), _NOISELESS),
    "indi": Process(
        "those with beta_bar proportional to alpha_bar", lambda s: _no_delta(s) and _proportional(s.beta_bar, s.alpha_bar)
    ),
    "indi-brownian": _BROWNIAN,
    "resshift": _BROWNIAN,
    "i2sb": Process("the bridges", lambda s: s.bridge > 0),
    "diffuir": Process("those with a delta", lambda s: s.delta_bar is not None),
    "resfusion": Process(
        "those with delta half of alpha", lambda s: s.delta_bar is not None and np.allclose(2 * s.delta_bar, s.alpha_bar)
    ),
}
