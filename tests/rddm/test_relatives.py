"""The relatives: each against a few lines written from its paper, its known limits, and what equals what."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rddm.objective import HEADS, mixture, predict, targets
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import calls, philox_noise, run, sample, start, timesteps, trace
from rddm.schedule import Schedule, make_schedule
from rddm.spec import Curve, ModelSpec, NamedSchedule, TableSchedule
from rddm.tiling import blend, plan

FACTS = {"name": "a", "task": "b", "licence": "test", "image_clip": None}
SHAPE = (1, 3, 8, 8)
CLOSE = 1e-6
STEPS = [1, 2, 5, 10, 50]
A = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))  # DDPM's product of 1 - beta, float64
X_IN = np.random.default_rng(3).uniform(-1, 1, SHAPE)
Net = Callable[[Any, Any, int], Any]


def net(x_t: Any, x_in: Any, t: int) -> Any:
    """A fixed smooth function of all that a network is given."""
    return np.tanh(0.7 * x_t - 0.4 * x_in + 0.3 * np.roll(x_t, 1, -1) + 0.001 * t - 0.2)


def z(k: int) -> Any:
    return philox_noise(11, *SHAPE[1:])(k).astype(np.float64)


def level(t: int, of: Any = A) -> float:
    return 1.0 if t < 0 else float(of[t])


def exact(name: str, **facts: Any) -> ModelSpec:
    """The relative with DDPM's tables in float64: the named ones hold diffusers' float32 values."""
    alpha_bar, beta_bar = tuple(1 - np.sqrt(A)), tuple(np.sqrt(1 - A))
    named = RELATIVES[name].decides["schedule"]
    table = TableSchedule(alpha_bar=alpha_bar, beta_bar=beta_bar, delta_bar=None if named.delta is None else alpha_bar)
    return relative_spec(name, **{**FACTS, "schedule": table, **facts})


def ours(spec: ModelSpec, steps: int, network: Net = net, x_in: Any = X_IN) -> Any:
    """What the shared sampler gives with a network that answers on every head alike."""
    schedule, heads = make_schedule(spec.schedule, spec.timesteps), len(HEADS[spec.objective])

    def answer(question: Any) -> Any:
        outputs = [network(question.x_t, x_in, question.t) * (1 + 0.5 * head) for head in range(heads)]
        return predict(spec, schedule, outputs, question.x_t, x_in, question.t)

    return run(sample(spec, schedule, x_in, z, steps), answer)


def pairs(spec: ModelSpec, steps: int) -> list[tuple[int, int]]:
    return list(pairwise(timesteps(spec, steps)))


def agree(spec: ModelSpec, steps: int, expected: Any, x_in: Any = X_IN) -> None:
    assert np.abs(ours(spec, steps, x_in=x_in) - expected).max() <= CLOSE


def ddpm_loop(grid: list[tuple[int, int]], x: Any, x_in: Any, large: bool = False) -> Any:
    """Ho et al. equations 6, 7: the posterior's mean and variance (or beta) between any two indices, x_0 from equation 4."""
    for k, (t, after) in enumerate(grid, 1):
        now, then = level(t), level(after)
        a = now / then
        x_0 = (x - np.sqrt(1 - now) * net(x, x_in, t)) / np.sqrt(now)
        mean = np.sqrt(then) * (1 - a) / (1 - now) * x_0 + np.sqrt(a) * (1 - then) / (1 - now) * x
        variance = (1 - a) if large else (1 - then) / (1 - now) * (1 - a)
        x = mean if after < 0 else mean + np.sqrt(variance) * z(k)
    return x


@pytest.mark.parametrize("steps", STEPS)
def test_ddpm_is_its_papers_posterior(steps: int) -> None:
    spec = exact("ddpm", image_size=SHAPE[2:])
    nothing = np.zeros(SHAPE)
    agree(spec, steps, ddpm_loop(pairs(spec, steps), z(0), nothing), nothing)


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_is_its_papers_equation_12(steps: int) -> None:
    spec, nothing, x = exact("ddim", image_size=SHAPE[2:]), np.zeros(SHAPE), z(0)
    for t, after in pairs(spec, steps):
        eps = net(x, nothing, t)
        x_0 = (x - np.sqrt(1 - level(t)) * eps) / np.sqrt(level(t))
        x = np.sqrt(level(after)) * x_0 + np.sqrt(1 - level(after)) * eps
    agree(spec, steps, x, nothing)


@pytest.mark.parametrize("steps", STEPS)
def test_sr3_is_its_papers_equation_11(steps: int) -> None:
    spec, x = exact("sr3"), z(0)
    for k, (t, after) in enumerate(pairs(spec, steps), 1):
        a = level(t) / level(after)
        x = (x - (1 - a) / np.sqrt(1 - level(t)) * net(x, X_IN, t)) / np.sqrt(a)
        if after >= 0:
            x = x + np.sqrt(1 - a) * z(k)
    agree(spec, steps, x)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("begin", [0.3, 0.5, 1.0])
def test_sdedit_starts_from_the_noised_guide(steps: int, begin: float) -> None:
    spec = exact("sdedit", begin=begin)
    first = round(begin * 1000) - 1
    x = np.sqrt(A[first]) * X_IN + np.sqrt(1 - A[first]) * z(0)
    assert timesteps(spec, steps)[0] == first
    agree(spec, steps, ddpm_loop(pairs(spec, steps), x, X_IN))


def degraded(x_0: Any, t: int) -> Any:
    return x_0 + (t + 1) / 1000 * (X_IN - x_0)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("algorithm", ["cold-naive", "cold"])
def test_cold_diffusion_is_its_papers_algorithms(algorithm: str, steps: int) -> None:
    spec, x = relative_spec(algorithm, **FACTS), X_IN
    for t, after in pairs(spec, steps):
        restored = net(x, X_IN, t)
        kept = degraded(restored, after)
        x = restored if after < 0 else kept if algorithm == "cold-naive" else x - degraded(restored, t) + kept
    agree(spec, steps, x)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("relative", "epsilon"), [("indi", lambda t: 0.01), ("indi-brownian", lambda t: 0.01 / t**0.5)])
def test_indi_is_its_papers_algorithm_1(relative: str, epsilon: Callable[[float], float], steps: int) -> None:
    spec, x = relative_spec(relative, **FACTS), X_IN + 0.01 * z(0)
    for k, (index, after) in enumerate(pairs(spec, steps), 1):
        t, then = (index + 1) / 1000, (after + 1) / 1000
        x = (t - then) / t * net(x, X_IN, index) + then / t * x
        if then > 0:
            x = x + then * np.sqrt(epsilon(then) ** 2 - epsilon(t) ** 2) * z(k)
    agree(spec, steps, x)


def i2sb_betas() -> Any:
    root = np.linspace(1e-4**0.5, 3e-4**0.5, 1000)
    return np.concatenate([root[:500] ** 2, root[:500][::-1] ** 2])


@pytest.mark.parametrize("steps", STEPS)
def test_i2sb_is_its_papers_algorithm_2(steps: int) -> None:
    betas = i2sb_betas()
    spec = relative_spec(
        "i2sb",
        **FACTS,
        schedule=NamedSchedule(alpha=Curve(name="i2sb"), beta2=Curve(name="bridge"), sum_scale=float(betas.sum())),
    )
    variance, x = np.cumsum(betas), X_IN
    for k, (t, after) in enumerate(pairs(spec, steps), 1):
        x_0 = x - np.sqrt(variance[t]) * net(x, X_IN, t)
        if after < 0:
            x = x_0
            continue
        sigma2, between = variance[after], variance[t] - variance[after]
        x = between / (between + sigma2) * x_0 + sigma2 / (between + sigma2) * x
        x = x + np.sqrt(sigma2 * between / (between + sigma2)) * z(k)
    agree(spec, steps, x)


@pytest.mark.parametrize("steps", STEPS)
def test_i2sbs_ode_is_the_posteriors_mean(steps: int) -> None:
    spec, variance, x = relative_spec("i2sb-ode", **FACTS), np.cumsum(i2sb_betas()), X_IN
    for t, after in pairs(spec, steps):
        sigma2 = 0.0 if after < 0 else variance[after]
        x = (1 - sigma2 / variance[t]) * net(x, X_IN, t) + sigma2 / variance[t] * x
    agree(spec, steps, x)


def resshift_eta() -> Any:
    total, kappa, p = 15, 2.0, 0.3
    first, last = min(0.04 / kappa, 0.001**0.5), 0.999**0.5
    b_0 = np.exp(np.log(last**2 / first**2) / (2 * (total - 1)))
    return (first * b_0 ** ((np.arange(total) / (total - 1)) ** p * (total - 1))) ** 2


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 15])
def test_resshift_is_its_papers_posterior(steps: int) -> None:
    spec, eta, x = relative_spec("resshift", **FACTS), resshift_eta(), X_IN + 2 * z(0)
    for k, (t, after) in enumerate(pairs(spec, steps), 1):
        then = 0.0 if after < 0 else eta[after]
        x = then / eta[t] * x + (eta[t] - then) / eta[t] * net(x, X_IN, t)
        x = x + 2 * np.sqrt(then * (eta[t] - then) / eta[t]) * z(k)
    agree(spec, steps, x)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 50])
def test_diffuir_steps_as_its_code_does(steps: int) -> None:
    delta = np.cumsum(np.linspace(1e-6, 1.8e-3, 1000))
    table = TableSchedule(alpha_bar=tuple(1 - np.sqrt(A)), beta_bar=tuple(np.sqrt(1 - A)), delta_bar=tuple(delta), sum_scale=0.01)
    spec = relative_spec("diffuir", **FACTS, schedule=table)
    x = (1 - delta[-1]) * X_IN + 0.1 * z(0)
    for t, after in pairs(spec, steps):
        res = net(x, X_IN, t).clip(-1, 1)
        x = X_IN - res if after < 0 else x - (np.sqrt(A[after]) - np.sqrt(A[t])) * res + (delta[t] - delta[after]) * X_IN
    agree(spec, steps, x)


def resfusion_levels() -> Any:
    levels = np.cumprod(1 - np.linspace(0.1, 20, 12)[:5] / 12)
    levels[-1] = 0.25
    return levels


def test_resfusion_is_its_papers_equations_28_and_33() -> None:
    spec, levels = relative_spec("resfusion", **FACTS), resfusion_levels()
    x = 0.5 * X_IN + np.sqrt(0.75) * z(0)
    for k, t in enumerate(range(4, -1, -1), 1):
        before = level(t - 1, levels)
        a = levels[t] / before
        x = (x - (1 - a) / np.sqrt(1 - levels[t]) * net(x, X_IN, t)) / np.sqrt(a)
        if t:
            x = x + np.sqrt((1 - before) / (1 - levels[t]) * (1 - a)) * z(k)
    # The last step of the paper is its posterior's mean at A = 1, which is x_0: the one that the spec's last step answers.
    agree(spec, 5, x)


@pytest.mark.parametrize("stages", [(1, 1), (2, 2), (1, 5), (5, 10)])
def test_drdd_removes_the_residual_under_fixed_noise_and_then_the_noise(stages: tuple[int, int]) -> None:
    of_residual, of_noise = stages
    spec = exact("drdd", residual_steps=of_residual)
    x = X_IN + z(0)
    for t, after in pairs(spec, of_residual):
        x = x - (np.sqrt(level(after)) - np.sqrt(level(t))) * net(x, X_IN, t)
    for t, after in pairs(spec, of_noise):
        x = x - (np.sqrt(1 - level(t)) - np.sqrt(1 - level(after))) * 1.5 * net(x, X_IN, t)
    agree(spec, of_noise, x)
    assert calls(spec, of_noise) == of_residual + of_noise


def test_weatherdiffusion_averages_the_noise_of_overlapping_patches_in_every_step() -> None:
    """Algorithm 2 with a network that sees 16 pixels at a time, against the tiles and windows that the service samples with."""
    size, side, steps = (1, 3, 40, 28), 16, 4
    spec = exact("weatherdiffusion", sizes=((side, side),), reach=8, size_multiple=4, image_clip=1.0)
    draw = np.random.default_rng(8)
    x_in, noise = draw.uniform(-1, 1, size), draw.standard_normal(size)
    layout, schedule = plan(spec, *size[2:]), make_schedule(spec.schedule, spec.timesteps)

    def answer(question: Any) -> Any:
        eps = np.zeros(size)
        for tile, window in zip(layout.tiles, layout.windows, strict=True):
            blend(eps, tile, net(tile.cut(question.x_t), tile.cut(x_in), question.t), window)
        return predict(spec, schedule, [eps], question.x_t, x_in, question.t)

    x, actual = noise, run(sample(spec, schedule, x_in, lambda _: noise, steps), answer)
    for t, after in pairs(spec, steps):
        eps, weight = np.zeros(size), np.zeros(size)
        for tile, window in zip(layout.tiles, layout.windows, strict=True):
            place = (..., slice(tile.top, tile.top + side), slice(tile.left, tile.left + side))
            share = (window.down * window.across).astype(np.float64)
            eps[place] += share * net(x[place], x_in[place], t)
            weight[place] += share
        np.testing.assert_allclose(weight, 1, atol=CLOSE)
        x_0 = ((x - np.sqrt(1 - level(t)) * eps) / np.sqrt(level(t))).clip(-1, 1)
        x = np.sqrt(level(after)) * x_0 + np.sqrt(1 - level(after)) * eps
    assert len(layout.tiles) > 4
    assert np.abs(actual - x).max() <= CLOSE


EQUAL: list[tuple[ModelSpec, ModelSpec]] = [
    # A DDPM is the DDIM of eta 1.
    (exact("ddpm", image_size=SHAPE[2:]), exact("ddim", image_size=SHAPE[2:], eta=1.0)),
    # InDI with a constant epsilon is SM-Res where beta_bar is a multiple of alpha_bar.
    (relative_spec("indi", **FACTS), relative_spec("indi", **FACTS, update="noise")),
    # ResShift is RDDM's ancestral sampler where beta_bar^2 is a multiple of alpha_bar.
    (relative_spec("resshift", **FACTS), relative_spec("resshift", **FACTS, update="ancestral", eta=0)),
    # InDI with Brownian noise is ResShift with a linear eta.
    (
        relative_spec("indi-brownian", **FACTS),
        relative_spec("resshift", **FACTS, timesteps=1000, schedule=RELATIVES["indi-brownian"].decides["schedule"]),
    ),
    # Cold Diffusion's algorithm 2 is SM-Res without noise.
    (
        relative_spec("cold", **FACTS),
        relative_spec("rddm", **FACTS, objective="pred_x0", schedule=RELATIVES["cold"].decides["schedule"]),
    ),
    # I2SB's ODE is InDI without noise on its schedule.
    (
        relative_spec("i2sb-ode", **FACTS),
        relative_spec("indi", **FACTS, schedule=RELATIVES["i2sb-ode"].decides["schedule"]),
    ),
]


@pytest.mark.parametrize("steps", [1, 2, 5, 15])
@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_is_the_same_by_another_name(one: ModelSpec, other: ModelSpec, steps: int) -> None:
    x_in = np.zeros(SHAPE) if one.generates else X_IN
    assert np.abs(ours(one, steps, x_in=x_in) - ours(other, steps, x_in=x_in)).max() <= CLOSE


def test_what_is_not_the_same_differs_by_much() -> None:
    """Cold Diffusion's two algorithms, and I2SB's posterior against the authors' ancestral one, part at the second call."""
    assert np.abs(ours(relative_spec("cold", **FACTS), 5) - ours(relative_spec("cold-naive", **FACTS), 5)).max() > 0.01
    assert np.abs(ours(relative_spec("indi", **FACTS), 5) - ours(relative_spec("cold", **FACTS), 5)).max() > 0.01


def facts_of(name: str) -> dict[str, Any]:
    return {**FACTS, "image_size": SHAPE[2:]} if name in {"ddpm", "ddim"} else FACTS


def truth(spec: ModelSpec, schedule: Schedule, x_0: Any, x_in: Any) -> Callable[[Any], Any]:
    """Outputs of a network that knows x_0."""

    def answer(question: Any) -> Any:
        t, (alpha_bar, beta_bar) = question.t, schedule.at(question.t)
        res, x_t = x_in - x_0, schedule.lifted(question.x_t, x_in, question.t)
        eps = (x_t - x_0 - alpha_bar * res) / beta_bar if beta_bar else 0 * x_0
        mix = mixture(spec.objective, schedule, t) if spec.objective in {"pred_resnoise", "pred_drift"} else None
        return predict(spec, schedule, targets(spec.objective, x_0, res, eps, mix), question.x_t, x_in, t)

    return answer


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", sorted(set(RELATIVES) - {"drdd"}))
def test_a_network_that_knows_the_answer_gives_it(name: str, steps: int) -> None:
    spec = relative_spec(name, **facts_of(name))
    schedule = make_schedule(spec.schedule, spec.timesteps)
    x_0 = np.random.default_rng(9).uniform(-0.4, 0.4, SHAPE)
    x_in = np.zeros(SHAPE) if spec.generates else X_IN / 2
    assert np.abs(run(sample(spec, schedule, x_in, z, steps), truth(spec, schedule, x_0, x_in)) - x_0).max() < 1e-6


@pytest.mark.parametrize("name", sorted(RELATIVES))
def test_start_is_the_forward_process_at_its_first_index(name: str) -> None:
    """Exactly for those whose papers make it so; x_in is nothing for generators, and SDEdit's x_0 is x_in."""
    spec = relative_spec(name, **facts_of(name))
    schedule = make_schedule(spec.schedule, spec.timesteps)
    x_in = np.zeros(SHAPE) if spec.generates else X_IN
    x_0 = x_in if spec.start == "diffused" else np.random.default_rng(9).uniform(-1, 1, SHAPE)
    difference = np.abs(start(spec, schedule, x_in, z(0)) - schedule.diffuse(x_0, x_in, z(0), spec.first_index)).max()
    # DDPM's chain keeps 0.6 % of x_0 at T; DiffUIR starts with a tenth of the noise that it trains with.
    largest = 4.0 if name == "diffuir" else 0.02 if spec.schedule.alpha.name == "ddim_linear" else 4e-3
    assert difference <= largest


def test_named_tables_are_ddpms() -> None:
    schedule = make_schedule(RELATIVES["sr3"].decides["schedule"], 1000)
    np.testing.assert_allclose((1 - schedule.alpha_bar) ** 2, A, atol=CLOSE)
    np.testing.assert_allclose(schedule.delta_bar, schedule.alpha_bar)


def test_named_tables_of_the_others_are_their_papers() -> None:
    tables = {
        name: make_schedule((spec := relative_spec(name, **FACTS)).schedule, spec.timesteps) for name in ("diffuir", "resshift")
    }
    np.testing.assert_allclose(tables["diffuir"].delta_bar, np.cumsum(np.linspace(1e-6, 1.8e-3, 1000)), atol=CLOSE)
    np.testing.assert_allclose(tables["resshift"].alpha_bar, resshift_eta(), atol=1e-12)
    np.testing.assert_allclose(tables["resshift"].beta_bar, 2 * np.sqrt(resshift_eta()), atol=1e-12)
    resfusion = make_schedule(RELATIVES["resfusion"].decides["schedule"], 12)
    np.testing.assert_allclose(resfusion.beta_bar[:5] ** 2, 1 - resfusion_levels(), atol=1e-12)
    np.testing.assert_allclose(1 - resfusion.alpha_bar[:5], 2 * np.sqrt(resfusion_levels()) - 1, atol=1e-12)


def test_a_delta_of_zero_is_no_delta() -> None:
    plain = NamedSchedule()
    none, zero = (
        relative_spec("rddm", **FACTS, schedule=schedule)
        for schedule in (plain, plain.model_copy(update={"delta": Curve(name="average"), "delta_scale": 0.0}))
    )
    np.testing.assert_array_equal(ours(none, 5), ours(zero, 5))


def test_ddpms_variance_vanishes_with_eta() -> None:
    """As eta goes to 0, DDPM's chain becomes DDIM's."""
    nothing = np.zeros(SHAPE)
    chains = [ours(exact("ddpm", image_size=SHAPE[2:], eta=eta), 10, x_in=nothing) for eta in (0.0, 1e-3, 1.0)]
    assert np.abs(chains[0] - chains[1]).max() < 0.01 * np.abs(chains[0] - chains[2]).max()


def test_residual_only_leaves_the_noise_until_the_last_step() -> None:
    spec = relative_spec("diffuir", **FACTS)
    schedule = make_schedule(spec.schedule, spec.timesteps)
    x_0 = X_IN / 3
    states = list(trace(sample(spec, schedule, X_IN, z, 3), truth(spec, schedule, x_0, X_IN)))
    for t, x_t in zip(timesteps(spec, 3)[:-1], states[:3], strict=True):
        clean = schedule.diffuse(x_0, X_IN, 0 * x_0, t)
        np.testing.assert_allclose(x_t - clean, 0.1 * z(0), atol=0.01)
    np.testing.assert_allclose(states[-1], x_0, atol=1e-12)


def test_unknown_relative_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"unknown relative 'indy'; expected one of \['cold', 'cold-naive'"):
        relative_spec("indy", **FACTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "noise", "condition": ("image",)}, "needs a schedule with delta"),
        ({"start": "noise", "condition": ()}, "needs image_size"),
        ({"objective": "pred_drift"}, "needs beta2 'bridge'"),
        ({"order": "decoupled", "update": "recomposed"}, "removes parts in turn"),
        ({"begin": 0.004, "max_steps": 5}, "min <= default <= max <= T, got 1, 5, 5, 4"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec(**FACTS, **changes)
