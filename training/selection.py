"""AOSA, the paper's automatic objective selection: does this data want its residual predicted, or its noise?

One network with one output o is trained on a mixture of both readings of o. A single learned share alpha, from 0.5, moves until it
is clear which reading is the better one; then the network is thrown away and the run begins anew with that objective. The authors
print the answer and train SM-Res regardless; here it decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rddm.objective import SMALLEST_DIVISOR
from rddm.spec import Objective as Objectives
from training.networks import check_fits, make_network
from training.objective import LOSSES, Objective
from training.recipe import Recipe
from training.sampling import condition_of
from training.trainer import MicroBatch, make_optimiser

BAND = 0.01


@dataclass(frozen=True)
class Selection:
    """The selected objective, after how many steps, and alpha's share at the end: over 0.5 the residual, under it the noise."""

    objective: Objectives
    steps: int
    alpha: float


class Mixture(nn.Module):
    """The network and alpha, and their loss (spec section 2)."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        super().__init__()
        self.recipe, self.objective = recipe, Objective(recipe, device)
        self.network = make_network(recipe.network).to(device)
        self.alpha = nn.Parameter(torch.full((1,), 0.5, device=device))

    def forward(self, batch: MicroBatch) -> Tensor:
        """alpha L(alpha o + (1 - alpha) r', res) + (1 - alpha) L(alpha e' + (1 - alpha) o, eps).

        r' is the residual that o implies if it is read as noise, e' the noise that it implies if read as a residual.
        """
        pairs, eps, error, alpha = batch.pairs, batch.eps, LOSSES[self.recipe.loss], self.alpha
        level = self.objective.level(batch.t)
        res = pairs.given - pairs.target
        x_t = pairs.target + level.alpha_bar * res + level.beta_bar * eps
        condition = condition_of(self.recipe.spec, pairs.given, pairs.context, pairs.mask, pairs.brightness)
        out = self.network(x_t, condition, level.time)[0]
        rest = torch.where(batch.t == self.recipe.spec.timesteps - 1, SMALLEST_DIVISOR, 1 - level.alpha_bar.flatten())
        rest = rest.clamp(min=SMALLEST_DIVISOR).view(-1, 1, 1, 1)
        x_0 = ((x_t - level.alpha_bar * pairs.given - level.beta_bar * out) / rest).clamp(-1, 1)
        noise = x_t - pairs.given - (level.alpha_bar - 1) * out
        implied_noise = torch.where(level.beta_bar > 0, noise / level.beta_bar, 0 * noise)  # a linspace schedule has none at t = 0
        of_res = error(alpha * out + (1 - alpha) * (pairs.given - x_0), res)
        of_noise = error(alpha * implied_noise + (1 - alpha) * out, eps)
        return (alpha * of_res + (1 - alpha) * of_noise).squeeze()


def select(recipe: Recipe, batches: Iterator[MicroBatch], device: torch.device, most: int = 5000) -> Selection:
    """Train the mixture until alpha is BAND away from 0.5 (about 125 steps at least at the authors' rate).

    Raises ValueError for a network with two outputs, and if alpha is still inside the band after `most` steps.
    """
    if recipe.network.outputs != 1:
        raise ValueError(f"selection trains one output, the recipe's network has {recipe.network.outputs}")
    torch.manual_seed(recipe.seed)
    mixture = Mixture(recipe, device)
    optimiser = make_optimiser(recipe.optimiser, mixture)
    for step in range(1, most + 1):
        for _ in range(recipe.accumulate):
            (mixture(next(batches)) / recipe.accumulate).backward()
        nn.utils.clip_grad_norm_(mixture.parameters(), recipe.clip)
        optimiser.step()
        optimiser.zero_grad()
        alpha = float(mixture.alpha.detach())
        if abs(alpha - 0.5) >= BAND:
            return Selection("pred_res" if alpha > 0.5 else "pred_noise", step, alpha)
    raise ValueError(f"alpha is {alpha:.4f} after {most} steps, within {BAND} of 0.5: the data prefers neither objective")


def with_objective(recipe: Recipe, objective: Objectives) -> Recipe:
    """The recipe for another objective of as many outputs. Raises ValueError where the network cannot serve it."""
    spec = recipe.spec.model_copy(update={"objective": objective, "method": None})
    check_fits(recipe.network, spec)
    return recipe.model_copy(update={"spec": spec})
