"""What a network can say before it has learned anything: the best linear guess from what it is given, and how far that is off.

A network that models noise must first learn to copy its input; one that models the residual need not. Few steps of training would
compare that. Here every network answers its target as

    guess + spread F(x_t, x_in, t)

where the guess is the affine function of x_t, and of x_in where the network sees it, with the least mean square error on the
training pairs, spread is that error's root, and F is the network, which begins at 0. Its target has about unit variance at every
index and in every method: the preconditioning of Karras et al. 2022 (EDM), section 5, with a given picture.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rddm.objective import HEADS, MIXTURES, mixture, times
from rddm.schedule import Schedule, make_schedule
from rddm.spec import ModelSpec
from training.synthesis.draws import Pairs

Floats = NDArray[np.float64]
LEAST = 1e-6  # the smallest variance: 0 where x_t and x_in decide the target


@dataclass(frozen=True)
class Moments:
    """Means (3,) and covariance (3 3) over all values of the pairs, of (x_0, res, eps)."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, pairs: Pairs) -> "Moments":
        """Of the pairs; eps is standard normal and independent."""
        x_0, x_in = (picture.double().numpy().ravel() for picture in (pairs.target, pairs.given))
        covariance = np.eye(3)
        covariance[:2, :2] = np.cov(x_0, x_in - x_0)
        return cls(np.array([x_0.mean(), (x_in - x_0).mean(), 0.0]), covariance)


def combinations(spec: ModelSpec, schedule: Schedule) -> tuple[Floats, Floats]:
    """What is seen (T, 1 or 2, 3) and what is wanted (T, heads, 3) at every index, as combinations of (x_0, res, eps)."""
    alpha_bar, beta_bar = (np.array(column) for column in zip(*(schedule.at(t) for t in range(spec.timesteps)), strict=True))
    delta_bar = np.zeros_like(alpha_bar) if schedule.delta_bar is None else np.asarray(schedule.delta_bar)
    zero, one = np.zeros_like(alpha_bar), np.ones_like(alpha_bar)
    x_t, x_in = np.stack([1 - delta_bar, alpha_bar - delta_bar, beta_bar], 1), np.stack([one, one, zero], 1)
    of_head = {"x0": np.stack([one, zero, zero], 1), "res": np.stack([zero, one, zero], 1), "noise": np.stack([zero, zero, one], 1)}
    if spec.objective in MIXTURES:
        mixed = [(0.0, *mixture(spec.objective, schedule, t)) for t in range(spec.timesteps)]
        of_head |= {"resnoise": np.array(mixed), "drift": np.array(mixed)}
    seen = [x_t, x_in] if "image" in spec.condition else [x_t]
    return np.stack(seen, 1), np.stack([of_head[head] for head in HEADS[spec.objective]], 1)


def rows_of(spec: ModelSpec, schedule: Schedule, moments: Moments) -> Floats:
    """(T, heads, 4): the factors of x_t and x_in, the constant, and the spread of what is wanted at every index."""
    seen, wanted = combinations(spec, schedule)
    covariance = seen @ moments.covariance @ seen.mT + LEAST * np.eye(seen.shape[1])
    shared = wanted @ moments.covariance @ seen.mT
    factors = np.linalg.solve(covariance, shared.mT).mT
    left = np.einsum("thi,ij,thj->th", wanted, moments.covariance, wanted) - (factors * shared).sum(-1)
    constant = wanted @ moments.mean - (factors @ (seen @ moments.mean)[..., None])[..., 0]
    padded = np.pad(factors, ((0, 0), (0, 0), (0, 2 - seen.shape[1])))
    return np.concatenate([padded, constant[..., None], np.sqrt(np.maximum(left, LEAST))[..., None]], -1)


class Guess(nn.Module):
    """A network around which the guess of its spec stands; called as the exported graph is."""

    rows: Tensor
    network_times: Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec, moments: Moments) -> None:
        super().__init__()
        schedule = make_schedule(spec.schedule, spec.timesteps)
        self.network, self.sees_image = network, "image" in spec.condition
        rows = torch.tensor(rows_of(spec, schedule, moments), dtype=torch.float32)
        self.register_buffer("rows", rows, persistent=False)
        network_times = torch.tensor([times(spec, schedule, t) for t in range(spec.timesteps)], dtype=torch.float32)
        self.register_buffer("network_times", network_times, persistent=False)

    def lines(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each output its guess (b 3 h w) and spread (b 1 1 1); arguments as in `forward`."""
        index = (self.network_times - time[:, None]).abs().sum(-1).argmin(1)
        image = condition if self.sees_image and condition is not None else torch.zeros_like(x_t)
        rows = self.rows[index][..., None, None, None].unbind(1)
        return [(r[:, 0] * x_t + r[:, 1] * image + r[:, 2], r[:, 3]) for r in rows]

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> tuple[Tensor, ...]:
        """x_t (b 3 h w), condition (b 3 h w) or None, time (b 2) -> a tensor b 3 h w for each output."""
        answers, lines = self.network(x_t, condition, time), self.lines(x_t, condition, time)
        return tuple(guess + spread * answer for answer, (guess, spread) in zip(answers, lines, strict=True))
