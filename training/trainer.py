"""The optimisation of a run: batches in, steps, averaged weights, and a checkpoint from which it continues at any step."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rddm.spec import ModelSpec
from training.brightness import fit_brightness
from training.checkpoint import NETWORK, RESUME, Checkpoint, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from training.ema import Ema
from training.networks import make_network
from training.networks.exposure import Exposure
from training.networks.small import Block
from training.objective import Objective
from training.recipe import Optimiser, Recipe
from training.synthesis.draws import Dice, Pairs, PairSource

OPTIMISERS = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}


ESTIMATE = "exposure.guess."


def make_optimiser(config: Optimiser, network: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters, or with a group for each network that the network consists of; no weight decay."""
    parts = list(network.children()) if config.per_network else [network]
    groups = [{"params": list(part.parameters())} for part in parts]
    return OPTIMISERS[config.name](groups, lr=config.rate, betas=config.betas)


def rate_share(config: Optimiser, step: int, progress: float) -> float:
    """The learning rate at a step as a share of its full value; progress 0..1 is how much of the run is over."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    fall = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(progress, 1.0))))) if config.decay == "cosine" else 1.0
    return warm * max(fall, 0.005)


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass of training needs: the pairs, t (b,), eps like the pairs, and whether x_t is rolled out."""

    pairs: Pairs
    t: Tensor
    eps: Tensor
    rollout: bool = False


def drawn_batches(recipe: Recipe, objective: Objective, source: PairSource, dice: Dice) -> Iterator[MicroBatch]:
    """Endless micro-batches from the dice alone."""
    while True:
        pairs = source.draw(recipe.batch, dice)
        t, eps = objective.draw_t(recipe.batch, dice), dice.normal(*pairs.target.shape)
        yield MicroBatch(pairs, t, eps, float(dice.uniform(0, 1, 1)) < recipe.rollout)


class Trainer:
    """The optimisation: network, average, optimiser and the number of steps done. Batches come from outside."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.steps, self.seconds = recipe, device, 0, 0.0
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.network = make_network(recipe.network).to(device, memory_format=layout)
        self.ema = Ema(self.network, recipe.ema)
        self.optimiser = make_optimiser(recipe.optimiser, self.network)
        self.objective = Objective(recipe, device)
        if self.estimate is not None:
            self.freeze([ESTIMATE])
        self.forward: nn.Module = torch.compile(self.network) if recipe.compile else self.network  # type: ignore[assignment]

    def freeze(self, prefixes: Sequence[str]) -> None:
        """Keep the parameters whose names begin so as they are. Raises ValueError, with the parts' names, where none does."""
        for prefix in prefixes:
            frozen = [weight for name, weight in self.network.named_parameters() if name.startswith(prefix)]
            if not frozen:
                raise ValueError(
                    f"no parameter begins with {prefix!r}; the network has {[name for name, _ in self.network.named_children()]}"
                )
            for weight in frozen:
                weight.requires_grad_(False)

    @property
    def estimate(self) -> Exposure | None:
        """What estimates how bright a scene was; None in a network that does not."""
        exposure = getattr(self.network, "exposure", None)
        return exposure if isinstance(exposure, Exposure) and exposure.guess is not None else None

    def fit_estimate(self, source: PairSource) -> dict[str, float]:
        """Fit it before the first step, alike in every process of a team; what the card shall say of it. Steps leave it alone."""
        if self.estimate is None:
            return {}
        error = fit_brightness(self.estimate, source, Dice(torch.Generator(self.device).manual_seed(self.recipe.seed)))
        self.ema.average.load_state_dict(self.network.state_dict())
        return {"brightness_error": round(error, 4)}

    def distribute(self, accelerator: Accelerator) -> None:
        """Share each step with the accelerator's other processes: everybody's own micro-batches, the mean of their gradients."""
        self.forward = accelerator.prepare_model(self.forward)

    def step(self, batches: Iterator[MicroBatch], progress: float = 0.0) -> float:
        """One optimiser step over `accumulate` micro-batches, each loss divided by their number; the summed loss.

        Raises FloatingPointError, with the weights as they were, where the gradient is infinite or not a number: in every process
        of a team, since all have the same.
        """
        total = torch.zeros((), device=self.device)
        for _ in range(self.recipe.accumulate):
            batch = next(batches)
            loss = self.objective.loss(self.forward, batch.pairs, batch.t, batch.eps, batch.rollout) / self.recipe.accumulate
            loss.backward()
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if not bool(torch.isfinite(norm)):
            self.optimiser.zero_grad()
            raise FloatingPointError(f"step {self.steps + 1} has a loss of {float(total):g} and a gradient of norm {float(norm):g}")
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.optimiser.rate * rate_share(self.recipe.optimiser, self.steps, progress)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update(self.network)
        self.steps += 1
        return float(total)

    def save(self, folder: Path, facts: dict[str, Any], dice: Dice) -> None:
        """The checkpoint (averaged weights) and everything that resuming needs."""
        facts = {"steps": self.steps, "hours": round(self.seconds / 3600, 3), "seed": self.recipe.seed, **facts}
        save_checkpoint(folder, Checkpoint(self.recipe.spec, self.recipe.network, self.ema.average.state_dict(), facts))
        state = {"steps": self.steps, "seconds": self.seconds, "calls": self.ema.calls, "started": self.ema.started}
        tensors = {f"online.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.average.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value.float() for name, value in moments.items()}
        tensors["dice"] = dice.generator.get_state()
        save_tensors(folder / RESUME, tensors, {"state": json.dumps(state)})

    def start_from(self, folder: Path) -> ModelSpec:
        """Begin with the weights of a finished checkpoint, whose spec is returned, instead of random ones; step 0 of a new run.

        The network may be deeper than the checkpoint's: blocks that are new begin as the identity; and may estimate the brightness
        where the checkpoint's does not. Raises ValueError, naming the tensors, for any other difference.
        """
        checkpoint = load_checkpoint(folder)
        weights, own = checkpoint.weights, self.network.state_dict()
        new = (*_block_names(self.network), ESTIMATE)
        differences = {
            "lacks": [name for name in own if name not in weights and not name.startswith(new)],
            "has too much": [name for name in weights if name not in own],
            "has in another shape": [name for name in own if name in weights and weights[name].shape != own[name].shape],
        }
        if any(differences.values()):
            words = "; ".join(f"it {what}: {', '.join(names[:3])}" for what, names in differences.items() if names)
            raise ValueError(f"{folder} does not fit the recipe's network; expected that of {folder / NETWORK} ({words})")
        self.network.load_state_dict(weights, strict=False)
        self.ema.average.load_state_dict(self.network.state_dict())
        return checkpoint.spec

    def resume(self, folder: Path, dice: Dice) -> None:
        """Continue from what save wrote. Raises FileNotFoundError if it is not there, ValueError if it is cut short."""
        if not (folder / RESUME).is_file():
            raise FileNotFoundError(f"nothing to resume: {folder / RESUME} is missing")
        tensors, metadata = load_tensors(folder / RESUME)
        state = json.loads(metadata["state"])
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.ema.calls, self.ema.started = state["calls"], state["started"]
        self.network.load_state_dict(_part(tensors, "online."))
        self.ema.average.load_state_dict(_part(tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        dice.generator.set_state(tensors["dice"])


def _block_names(network: nn.Module) -> list[str]:
    return [f"{name}." for name, module in network.named_modules() if isinstance(module, Block)]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Budget:
    """When a run ends: after its steps, or after so many minutes of training, whichever is first."""

    steps: int
    minutes: float | None

    def spent(self, steps: int, seconds: float) -> float:
        """The share of the budget used up, 0..1 and over."""
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(steps / self.steps, by_time)


def train(trainer: Trainer, batches: Iterator[MicroBatch], budget: Budget, after_step: Callable[[float], None]) -> None:
    """Step until the budget is spent; after_step takes each loss. Ctrl-C ends it between two steps."""
    started = time.monotonic() - trainer.seconds
    while (progress := budget.spent(trainer.steps, trainer.seconds)) < 1:
        loss = trainer.step(batches, progress)
        trainer.seconds = time.monotonic() - started
        after_step(loss)
