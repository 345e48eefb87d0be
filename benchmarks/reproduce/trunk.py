"""One network for all methods: a trunk that they share, and of each method's own the first layer, the time and the last layer.

Step k trains the method k mod n on a batch of its own: every method has the same number of steps, and what one learns of pictures
and their damage serves all. The loss is L1 of F in `benchmarks.reproduce.guess`: methods and indices weigh alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.reproduce.arms import QUICK, Course, recipe_of
from benchmarks.reproduce.guess import Guess, Moments
from rddm.objective import HEADS, targets
from rddm.spec import ModelSpec
from training.checkpoint import write_text
from training.networks import SmallConfig
from training.networks.small import Small
from training.objective import Objective
from training.recipe import SynthesisData
from training.run_log import progress_bar
from training.sampling import condition_of
from training.synthesis.draws import Dice, Pairs, PairSource
from training.trainer import rate_share

SHARED = ("down", "up", "encode", "decode")
AVERAGE, SAVE_EVERY = 0.998, 220


@dataclass(frozen=True)
class Schooling:
    """How the networks are trained: steps of every method, windows of a step, widths, seed."""

    steps: int
    batch: int
    widths: tuple[int, ...]
    seed: int


def networks_of(specs: Mapping[str, ModelSpec], widths: tuple[int, ...]) -> nn.ModuleDict:
    """A network for every spec, all of them with one trunk."""
    depths = (1,) * len(widths)
    networks = {
        name: Small(SmallConfig(condition=spec.condition, outputs=len(HEADS[spec.objective]), widths=widths, depths=depths))
        for name, spec in specs.items()
    }
    first, *others = networks.values()
    for network in others:
        for part in SHARED:
            setattr(network, part, getattr(first, part))
    return nn.ModuleDict(networks).to(memory_format=torch.channels_last)


class School:
    """The networks in training, and their average, which is what is sampled."""

    def __init__(self, specs: Mapping[str, ModelSpec], moments: Moments, schooling: Schooling) -> None:
        torch.manual_seed(schooling.seed)
        self.schooling, self.names, self.done = schooling, list(specs), 0
        self.networks = networks_of(specs, schooling.widths)
        self.average = AveragedModel(self.networks, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=QUICK.rate, betas=QUICK.betas, foreach=True)
        self.dice = Dice(torch.Generator().manual_seed(schooling.seed))
        self.guesses = {name: Guess(self.networks[name], spec, moments) for name, spec in specs.items()}
        self.objectives = {name: self._objective(name, spec) for name, spec in specs.items()}

    def _objective(self, name: str, spec: ModelSpec) -> Objective:
        network: Small = self.networks[name]  # type: ignore[assignment]
        course = Course(self.schooling.steps, self.schooling.batch)
        return Objective(
            recipe_of(spec, network.config, SynthesisData(kind="rain"), course, self.schooling.seed), torch.device("cpu")
        )

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.schooling.steps * len(self.names)

    def step(self, source: PairSource) -> float:
        """One step of the method whose turn it is; the loss."""
        name = self.names[self.done % len(self.names)]
        loss = self.loss(name, source.draw(self.schooling.batch, self.dice))
        loss.backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = QUICK.rate * rate_share(QUICK, self.done, self.done / self.steps)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update_parameters(self.networks)
        self.done += 1
        return float(loss.detach())

    def loss(self, name: str, pairs: Pairs) -> Tensor:
        """The mean of |F - (target - guess) / spread| over the method's outputs; pairs b 3 h w."""
        objective, guess = self.objectives[name], self.guesses[name]
        t, eps = objective.draw_t(len(pairs.target), self.dice), self.dice.normal(*pairs.target.shape)
        level, x_0, x_in = objective.level(t), pairs.target, pairs.given
        x_t = x_0 + level.alpha_bar * (x_in - x_0) + level.beta_bar * eps
        x_t = x_t if level.delta_bar is None else x_t - level.delta_bar * x_in
        wanted = targets(objective.spec.objective, x_0, x_in - x_0, eps, level.mix)
        condition = condition_of(objective.spec, x_in, None)
        with torch.autocast("cpu", torch.bfloat16):
            answers = guess.network(x_t, condition, level.time)
        lines = guess.lines(x_t, condition, level.time)
        errors = [
            functional.l1_loss(answer.float(), (want - about) / spread)
            for answer, want, (about, spread) in zip(answers, wanted, lines, strict=True)
        ]
        return torch.stack(errors).mean()

    def save(self, path: Path) -> None:
        """Everything that going on needs, whole or not at all."""
        state = {"done": self.done, "networks": self.networks.state_dict(), "average": self.average.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "dice": self.dice.generator.get_state()}
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, weights_only=True)
        self.done = state["done"]
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.dice.generator.set_state(state["dice"])


def schooled(
    specs: Mapping[str, ModelSpec], source: PairSource, moments: Moments, schooling: Schooling, folder: Path, console: Console
) -> dict[str, nn.Module]:
    """The averaged networks by name, trained to their end first; an interrupted run goes on where it was saved.

    moments: what the guesses know of the pairs. Raises ValueError for a folder with a run of other methods or another size.
    """
    school, path, claim = School(specs, moments, schooling), folder / "state.pt", folder / "schooling.txt"
    text = f"{schooling} {sorted(specs)}"
    if claim.is_file() and claim.read_text().strip() != text:
        raise ValueError(f"{folder} holds a run of other methods or another size; name another --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(claim, text)
    if path.is_file():
        school.resume(path)
    _train(school, source, path, console)
    networks: nn.ModuleDict = school.average.module  # type: ignore[assignment]
    return {name: network.eval() for name, network in networks.items()}


def _train(school: School, source: PairSource, path: Path, console: Console) -> None:
    if school.done == school.steps:
        return
    losses: list[float] = []
    with progress_bar(console) as bar:
        task = bar.add_task(path.parent.name, total=school.steps, completed=school.done, loss="", psnr="")
        while school.done < school.steps:
            losses = [*losses[-199:], school.step(source)]
            if school.done % 50 == 0:
                bar.update(task, completed=school.done, loss=f"{sum(losses) / len(losses):.4f}")
            if school.done % SAVE_EVERY == 0:
                school.save(path)
    school.save(path)
