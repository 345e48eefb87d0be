"""The best linear guess: against least squares on drawn values, and where x_t and x_in leave nothing to guess."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.reproduce.guess import Guess, Moments
from rddm.objective import HEADS, mixture, targets
from rddm.relatives import relative_spec
from rddm.schedule import make_schedule
from training.synthesis.draws import Pairs

FACTS = {"name": "a", "task": "b", "licence": "c", "image_size": (16, 16)}


class Silent(nn.Module):
    """A network that has learned nothing yet."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x_t),) * self.outputs


@pytest.fixture
def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(5)
    target = 0.4 * torch.randn(200, 3, 16, 16, generator=generator) + 0.1
    return Pairs(target, 0.8 * target + 0.2 * torch.randn(target.shape, generator=generator) + 0.3)


@pytest.mark.parametrize("relative", ["rddm", "sr3", "sdedit", "cold", "indi", "i2sb", "resshift", "diffuir", "resfusion", "drdd"])
def test_it_is_what_least_squares_finds(relative: str, pairs: Pairs) -> None:
    spec = relative_spec(relative, **FACTS)
    schedule, t = make_schedule(spec.schedule, spec.timesteps), (2 * spec.first_index) // 3
    alpha_bar, beta_bar = schedule.at(t)
    delta_bar = 0.0 if schedule.delta_bar is None else float(schedule.delta_bar[t])
    eps, res = torch.randn(pairs.target.shape, generator=torch.Generator().manual_seed(6)), pairs.given - pairs.target
    x_t = pairs.target + alpha_bar * res + beta_bar * eps - delta_bar * pairs.given
    mix = mixture(spec.objective, schedule, t) if spec.objective in {"pred_resnoise", "pred_drift"} else None
    wanted = targets(spec.objective, pairs.target, res, eps, mix)
    network_times = [float(t), float(t)] if spec.time_input == "t" else [alpha_bar * spec.timesteps, beta_bar * spec.timesteps]
    network = Guess(Silent(len(HEADS[spec.objective])), spec, Moments.of(pairs))
    condition = pairs.given if spec.condition else None
    seen = [x_t.ravel(), *([pairs.given.ravel()] if spec.condition else []), torch.ones(x_t.numel())]
    columns = torch.stack(seen, 1).double().numpy()
    spreads = [spread for _, spread in network.lines(x_t, condition, torch.tensor([network_times] * len(x_t)))]
    for answer, want, spread in zip(
        network(x_t, condition, torch.tensor([network_times] * len(x_t))), wanted, spreads, strict=True
    ):
        best = columns @ np.linalg.lstsq(columns, want.double().numpy().ravel())[0]
        left = np.sqrt(np.mean((want.numpy().ravel() - best) ** 2))
        assert np.abs(answer.numpy().ravel() - best).max() < 0.05
        assert abs(float(spread[0, 0, 0, 0]) - left) < 0.01


def test_without_noise_a_network_beside_the_picture_would_have_nothing_to_learn(pairs: Pairs) -> None:
    """Why the networks of Cold Diffusion, InDI and I2SB see x_t alone."""
    moments, time = Moments.of(pairs), torch.full((200, 2), 500.0)
    for condition, smallest, largest in ((("image",), 0.0, 0.01), ((), 0.05, 1.0)):
        spec = relative_spec("cold", **{**FACTS, "condition": condition})
        ((_, spread),) = Guess(Silent(1), spec, moments).lines(pairs.target, pairs.given, time)
        assert smallest <= float(spread[0]) <= largest
