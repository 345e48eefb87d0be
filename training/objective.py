"""One training loss: draw t and eps, diffuse, ask the network, compare with the objective's targets (spec section 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rddm.objective import MIXTURES, mixture, predict, targets, times
from rddm.sampler import start, timesteps
from rddm.schedule import Schedule, make_schedule
from rddm.spec import ModelSpec
from training.recipe import Recipe
from training.sampling import condition_of
from training.synthesis.draws import Dice, Pairs


def l1_split(answer: Tensor, wanted: Tensor) -> Tensor:
    """L1 of the error's mean over each picture's channels, plus L1 of what remains.

    Where the right brightness cannot be known, plain L1's gradient is the sign of the brightness error at every pixel and says
    nothing of detail; split, detail is learned from the first step.
    """
    error = answer - wanted
    mean = error.mean((2, 3), keepdim=True)
    return mean.abs().mean() + (error - mean).abs().mean()


def l1_pyramid(answer: Tensor, wanted: Tensor) -> Tensor:
    """L1 of the error in three octaves (a pyramid of box filters, after Bojanowski et al. 2018), plus `l1_split` of the rest.

    The gradient of plain L1 is the sign of the whole error: where a wall's tone is off by more than its grain, that sign says
    nothing of the grain, which then stays. Raises ValueError unless h and w are multiples of 8.
    """
    if answer.shape[2] % 8 or answer.shape[3] % 8:
        raise ValueError(f"the loss l1_pyramid takes crops of multiples of 8 pixels, not {answer.shape[3]} x {answer.shape[2]}")
    error, bands = answer - wanted, answer.new_zeros(())
    for _ in range(3):
        coarse = functional.avg_pool2d(error, 2)
        bands = bands + (error - functional.interpolate(coarse, scale_factor=2.0)).abs().mean()
        error = coarse
    return bands + l1_split(error, torch.zeros_like(error))


def psnr(answer: Tensor, wanted: Tensor, least: float = 1e-4) -> Tensor:
    """Minus the mean PSNR over the pictures, in bels (Chen et al. 2021, HINet).

    least: the mean square (of a range of 1) under which an error is worth ever less; 1e-4 is 40 dB. L1 and L2 are sums: a picture
    under heavy rain outweighs ten with a few streaks, which then stay. Here all count alike.
    """
    error = (answer - wanted).square().mean((1, 2, 3)) / 4
    return torch.log10(error + least).mean()


def psnr_fine(answer: Tensor, wanted: Tensor) -> Tensor:
    """`psnr` up to 50 dB, for tasks whose pictures come in with 30 to 40: mild noise, good JPEGs."""
    return psnr(answer, wanted, 1e-5)


LOSSES = {
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "l1_split": l1_split,
    "l1_pyramid": l1_pyramid,
    "psnr": psnr,
    "psnr_fine": psnr_fine,
}


@dataclass(frozen=True)
class Level:
    """One level of the forward process per picture: alpha_bar, beta_bar, delta_bar (b 1 1 1), and the time of each head (b 2).

    mix: (a, b), b 1 1 1 each, of an output a res + b eps, for objectives that have one.
    """

    alpha_bar: Tensor
    beta_bar: Tensor
    delta_bar: Tensor | None
    mix: tuple[Tensor, Tensor] | None
    time: Tensor


class Objective:
    """The training objective of a recipe on one device."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.spec, self.device = recipe, recipe.spec, device
        self.schedule: Schedule = make_schedule(recipe.spec.schedule, recipe.spec.timesteps)
        self.alpha_bar = torch.tensor(self.schedule.alpha_bar, dtype=torch.float32, device=device)
        self.beta_bar = torch.tensor(self.schedule.beta_bar, dtype=torch.float32, device=device)
        delta_bar = self.schedule.delta_bar
        self.delta_bar = None if delta_bar is None else torch.tensor(delta_bar, dtype=torch.float32, device=device)
        self.mix = self._mixtures()
        self.times = torch.tensor([times(self.spec, self.schedule, t) for t in range(self.spec.timesteps)], device=device)
        self.asked = asked_indices(self.spec)

    def _mixtures(self) -> Tensor | None:
        """(T 2): what `mixture` gives at every index, for objectives that have one."""
        if self.spec.objective not in MIXTURES:
            return None
        each = [mixture(self.spec.objective, self.schedule, t) for t in range(self.spec.timesteps)]
        return torch.tensor(each, dtype=torch.float32, device=self.device)

    def draw_t(self, batch: int, dice: Dice) -> Tensor:
        """Indices t, (b,): uniform over 0..T-1, or as sampling with a random allowed number of steps asks."""
        if self.recipe.time_sampling == "uniform":
            return dice.integers(0, self.spec.first_index + 1, batch)
        rows = dice.integers(0, len(self.asked), batch).tolist()
        shares = dice.uniform(0, 1, batch).tolist()
        chosen = [self.asked[row][int(share * len(self.asked[row]))] for row, share in zip(rows, shares, strict=True)]
        return torch.tensor(chosen, device=self.device)

    def level(self, t: Tensor) -> Level:
        """The forward process's level at indices t (b,)."""
        column = (-1, 1, 1, 1)
        delta_bar = None if self.delta_bar is None else self.delta_bar[t].view(column)
        mix = None if self.mix is None else (self.mix[t, 0].view(column), self.mix[t, 1].view(column))
        return Level(self.alpha_bar[t].view(column), self.beta_bar[t].view(column), delta_bar, mix, self.times[t].float())

    def loss(self, network: nn.Module, pairs: Pairs, t: Tensor, eps: Tensor, rollout: bool = False) -> Tensor:
        """The sum over heads of the mean error of the raw outputs; pairs and eps b 3 h w, t (b,)."""
        x_0, x_in, level = pairs.target, pairs.given, self.level(t)
        condition = condition_of(self.spec, x_in, pairs.context, pairs.mask, pairs.brightness)
        origin = self.first_answer(network, x_in, condition, eps) if rollout else x_0
        x_t = origin + level.alpha_bar * (x_in - origin) + level.beta_bar * eps
        if level.delta_bar is not None:
            x_t = x_t - level.delta_bar * x_in
        wanted = targets(self.spec.objective, x_0, x_in - x_0, eps, level.mix)
        with self.autocast():
            outputs = network(x_t, condition, level.time)
        error = LOSSES[self.recipe.loss]
        return sum(
            (error(out.float(), want) for out, want in zip(outputs, wanted, strict=True)), torch.zeros((), device=x_0.device)
        )

    @torch.no_grad()
    def first_answer(self, network: nn.Module, x_in: Tensor, condition: Tensor | None, eps: Tensor) -> Tensor:
        """The network's x_0 at t = T-1, where sampling begins: what later steps really start from."""
        last = self.spec.first_index
        x_t = start(self.spec, self.schedule, x_in, eps)
        with self.autocast():
            outputs = network(x_t, condition, self.times[last].float().expand(len(x_in), 2))
        x_0: Tensor = predict(self.spec, self.schedule, [out.float() for out in outputs], x_t, x_in, last).x_0
        return x_0

    def autocast(self) -> torch.autocast:
        """bfloat16 arithmetic where the recipe asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")


def asked_indices(spec: ModelSpec) -> list[list[int]]:
    """For every allowed number of steps, the indices at which sampling asks."""
    return [timesteps(spec, steps)[:-1] for steps in range(spec.min_steps, spec.max_steps + 1)]
