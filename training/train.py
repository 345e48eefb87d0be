"""`rddm train RECIPE`: one run, from a recipe to a checkpoint, resumable at any step.

python -m rddm train lowlight --output runs/lowlight --minutes 90
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from training import curve, samples
from training.checkpoint import FACTS, RESUME, WEIGHTS, Checkpoint, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from training.ema import Ema
from training.network import Block, make_network
from training.objective import Objective
from training.presets import PRESETS, describe, to_recipe
from training.recipe import Optimiser, Recipe, built_in_recipes, load_recipe
from training.sources import make_sources
from training.synthesis.draws import Dice, Pairs, PairSource
from training.validation import Validation

DIVERGED, FAILED = 1, 3  # exit statuses
OPTIMISERS = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}


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

    def start_from(self, folder: Path) -> None:
        """Begin with the weights of a finished checkpoint instead of random ones; step 0 of a new run.

        The network may be deeper than the checkpoint's: blocks that are new begin as the identity. Raises ValueError, naming the
        tensors, for any other difference.
        """
        weights = dict(load_checkpoint(folder).weights)
        missing, unknown = self.network.load_state_dict(weights, strict=False)
        missing = [name for name in missing if not any(name.startswith(block) for block in _block_names(self.network))]
        if missing or unknown:
            raise ValueError(f"{folder} does not fit this network: it lacks {missing[:3]} and has {unknown[:3]} too much")
        self.ema.average.load_state_dict(self.network.state_dict())

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
    """Step until the budget is spent; after_step is told each loss. Ctrl-C ends it between two steps."""
    started = time.monotonic() - trainer.seconds
    while (progress := budget.spent(trainer.steps, trainer.seconds)) < 1:
        loss = trainer.step(batches, progress)
        trainer.seconds = time.monotonic() - started
        after_step(loss)


class Diary:
    """What a run leaves in its folder as it goes: log.jsonl, curve.png, the checkpoint; and a bar on the terminal.

    sample_every: steps between grids of pictures (samples/STEP.png); tensorboard: also write events for it.
    """

    def __init__(self, trainer: Trainer, folder: Path, dice: Dice, validation: Validation, bar: Progress, budget: Budget) -> None:
        self.trainer, self.folder, self.dice, self.validation, self.bar, self.budget = (
            trainer,
            folder,
            dice,
            validation,
            bar,
            budget,
        )
        self.losses: list[float] = []
        self.figures: dict[str, float] = {}
        self.sample_every, self.events, self.facts = 0, None, {}
        self.task = bar.add_task(trainer.recipe.spec.name, total=1.0, loss="", psnr="")

    def after_step(self, loss: float) -> None:
        """Note the loss; validate and save when due."""
        self.losses.append(loss)
        steps, recipe = self.trainer.steps, self.trainer.recipe
        if steps % 20 == 0:
            mean = sum(self.losses[-100:]) / len(self.losses[-100:])
            self.bar.update(self.task, completed=self.budget.spent(steps, self.trainer.seconds), loss=f"{mean:.4f}")
        if self.events is not None:
            self.events.add_scalar("loss", loss, steps)
        if self.sample_every and steps % self.sample_every == 0:
            self.sample()
        if steps % recipe.validate_every == 0:
            self.validate()
        if steps % recipe.save_every == 0:
            self.save()

    sample_every: int
    events: SummaryWriter | None
    facts: dict[str, Any]

    def sample(self) -> None:
        """Leave a grid of what the averaged network makes."""
        trainer = self.trainer
        picture = samples.grid(trainer.ema.average, trainer.recipe.spec, self.validation.synthetic)
        samples.save_grid(self.folder / "samples" / f"{trainer.steps:07d}.png", picture)
        if self.events is not None:
            self.events.add_image("samples", picture, trainer.steps, dataformats="HWC")

    def validate(self) -> None:
        """Measure the averaged network and append a line to the log."""
        self.figures = self.validation.measure(self.trainer.ema.average)
        window, self.losses = self.losses, []
        line = {
            "step": self.trainer.steps,
            "minutes": round(self.trainer.seconds / 60, 2),
            "loss": round(sum(window) / max(len(window), 1), 6),
        }
        line |= {name: round(value, 3) for name, value in self.figures.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        curve.plot(self.folder / "log.jsonl", self.folder / "curve.png", self.trainer.recipe.spec.name)
        for name, value in self.figures.items() if self.events is not None else ():
            self.events.add_scalar(name, value, self.trainer.steps)
        self.bar.update(self.task, psnr=" ".join(f"{name} {value:.2f}" for name, value in self.figures.items()))
        self.bar.console.print_json(json.dumps(line), indent=None)

    def finish(self) -> None:
        """Validate what the last line of the log does not cover yet, and save."""
        if self.losses:
            self.validate()
        self.figures = self.figures or self.validation.measure(self.trainer.ema.average)
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        self.trainer.save(self.folder, {"figures": self.figures, **self.facts}, self.dice)


def progress_bar(console: Console) -> Progress:
    """Steps, loss, validation figures and time left."""
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %")]
    columns += [TextColumn("loss {task.fields[loss]}  {task.fields[psnr]}"), TimeElapsedColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, refresh_per_second=2)


def parser() -> argparse.ArgumentParser:
    """The verb's arguments."""
    p = argparse.ArgumentParser(
        prog="rddm train",
        description="Train a model from a recipe, or from the authors' settings for a data set. "
        "On several GPUs: accelerate launch -m training.train RECIPE ...",
        epilog="The authors' settings (? has no source): " + "; ".join(describe(preset) for preset in PRESETS.values()),
    )
    recipes = f"one of {', '.join(built_in_recipes())}, or of the presets {', '.join(PRESETS)}"
    p.add_argument("recipe", help=f"a TOML file, {recipes}")
    files = p.add_argument_group("files of a preset: a folder, a list file or a glob pattern each, matched by name")
    for part in PARTS:
        files.add_argument(f"--{part.replace('_', '-')}", metavar="FILES")
    files.add_argument("--crop", action="store_true", help="windows at full resolution instead of squashed pictures")
    p.add_argument("-o", "--output", type=Path, required=True, help="folder for the checkpoint, log.jsonl and curve.png")
    p.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    p.add_argument(
        "--minutes", type=float, help="end after so many minutes, rendering of pictures included; the rate falls by then"
    )
    p.add_argument("--steps", type=int, help="end after this many steps instead of the recipe's")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda (default: %(default)s)")
    p.add_argument("--threads", type=int, help="CPU threads (default: all)")
    p.add_argument("--batch", type=int, help="instead of the recipe's; a GPU wants a large one")
    p.add_argument("--compile", action="store_true", default=None, help="torch.compile the network")
    p.add_argument("--seed", type=int, help="instead of the recipe's")
    p.add_argument("--cache", type=Path, help="where rendered pictures are kept (default: ~/.cache/rddm)")
    p.add_argument("--val-pairs", type=Path, metavar="DIR", help="also validate on DIR/input and DIR/target, at full size")
    p.add_argument("--val-glob", default="*", help="which of those files (default: %(default)s)")
    p.add_argument("--sample-every", type=int, default=0, metavar="N", help="a grid of pictures every N steps (default: none)")
    p.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard")
    p.add_argument(
        "--select", action="store_true", help="first find out whether to predict residual or noise (AOSA), then train that"
    )
    p.add_argument(
        "--from",
        dest="start_from",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with the weights of a checkpoint, whose network may be shallower",
    )
    p.add_argument(
        "--freeze", nargs="+", default=[], metavar="PART", help="parameters that stay as they are, by how their names begin"
    )
    return p


PARTS = ("target", "given", "mask", "val_target", "val_given", "val_mask")


def chosen_recipe(name: str, files: dict[str, str] | None = None, crop: bool = False) -> Recipe:
    """A built-in recipe or a preset by name, or one from a file. Raises ValueError, with the list, for neither."""
    built_in = built_in_recipes()
    if name in PRESETS:
        return to_recipe(PRESETS[name], files or {}, crop)
    if name in built_in:
        return load_recipe(built_in[name])
    if not Path(name).is_file():
        raise ValueError(f"unknown recipe {name!r}; expected a TOML file or one of {sorted({*built_in, *PRESETS})}")
    return load_recipe(Path(name))


def overridden(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with what the arguments say instead. Raises ValueError naming the option, its value and what is allowed."""
    chosen = {name: value for name in ("seed", "steps", "batch", "compile") if (value := getattr(args, name)) is not None}
    try:
        return Recipe.model_validate(recipe.model_dump() | chosen)
    except ValidationError as error:
        wrong = (f"--{'.'.join(map(str, each['loc']))} {each['input']}: {each['msg']}" for each in error.errors())
        raise ValueError("; ".join(wrong)) from error


def check_positive(args: argparse.Namespace) -> None:
    """Raises ValueError for a number of minutes or threads that is none."""
    for name in ("minutes", "threads"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value:g}: should be greater than 0")


def main(argv: list[str]) -> int:
    """Train a model by its recipe, with validation; resumable. 2: wrong arguments.

    What was trained is saved before 130: interrupted, 1: diverged, 3: a file could not be read or written (if its disk lets it).
    """
    args = parser().parse_args(argv)
    console = Console()
    try:
        files = {part: value for part in PARTS if (value := getattr(args, part)) is not None}
        recipe = overridden(chosen_recipe(args.recipe, files, args.crop), args)
        check_positive(args)
    except ValueError as error:
        console.print(f"rddm train: {error}", markup=False, soft_wrap=True)
        return 2
    if args.threads:
        torch.set_num_threads(args.threads)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what stops a container saves too, as Ctrl-C does
    try:
        return run(recipe, args, console)
    except (ValueError, OSError) as error:
        console.print(f"rddm train: {error}", markup=False, soft_wrap=True)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def device_of(name: str) -> torch.device:
    """The device, which has been seen to work. Raises ValueError for another, saying what there is."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = "cpu or cuda" if torch.cuda.is_available() else "cpu; torch finds no CUDA here"
        raise ValueError(f"--device {name} cannot be used; expected {there}") from error
    return device


def team_of(args: argparse.Namespace) -> Accelerator | None:
    """The processes that `accelerate launch` started this run with; None for one process. Raises ValueError for a time limit."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if args.minutes:
        raise ValueError("--minutes could end processes at different steps; several of them take --steps")
    return Accelerator(cpu=args.device == "cpu")


def selected(recipe: Recipe, source: PairSource, dice: Dice, console: Console) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the objective that AOSA finds for its data, and what is noted of it."""
    from training.selection import select, with_objective  # noqa: PLC0415 (imports this module)

    found = select(recipe, drawn_batches(recipe, Objective(recipe, dice.device), source, dice), dice.device)
    console.print(f"after {found.steps} steps alpha is {found.alpha:.4f}: training {found.objective}", markup=False)
    return with_objective(recipe, found.objective), asdict(found)


def check_free(folder: Path) -> None:
    """Raises ValueError for a folder that holds a run already, which a new one would overwrite, and for a file."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --output takes a folder")
    if not any((folder / name).exists() for name in (WEIGHTS, RESUME)):
        return
    try:
        steps = f" of {json.loads((folder / FACTS).read_text())['steps']} steps"
    except (OSError, ValueError, LookupError, TypeError):
        steps = ""
    raise ValueError(f"{folder} holds a run{steps}; --resume continues it, another --output leaves it as it is")


def run(recipe: Recipe, args: argparse.Namespace, console: Console) -> int:
    """Train as the arguments say."""
    if not args.resume:
        check_free(args.output)
    started, team = time.monotonic(), team_of(args)
    device, process = (team.device, team.process_index) if team else (device_of(args.device), 0)
    dice = Dice(torch.Generator(device).manual_seed(recipe.seed + process))
    training_pairs, held_out = make_sources(recipe.data, args.cache, device)
    selection: dict[str, Any] = {}
    if args.select:
        recipe, selection = selected(recipe, training_pairs, Dice(torch.Generator(device).manual_seed(recipe.seed)), console)
    trainer = Trainer(recipe, device)
    if args.start_from:
        trainer.start_from(args.start_from)
    trainer.freeze(args.freeze)
    if args.resume:
        trainer.resume(args.output, dice)
    if team:
        trainer.distribute(team)
    rendering = 0.0 if args.resume else time.monotonic() - started
    budget = Budget(recipe.steps, args.minutes and max(args.minutes - rendering / 60, 0.1))
    batches = drawn_batches(recipe, trainer.objective, training_pairs, dice)
    if process:
        try:
            train(trainer, batches, budget, lambda _: None)
        except FloatingPointError:
            return diverged(team)
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    validation = Validation.of(recipe, held_out, device, args.val_pairs, args.val_glob)
    with progress_bar(console) as bar:
        diary = Diary(trainer, args.output, dice, validation, bar, budget)
        diary.sample_every, diary.facts = args.sample_every, {"selection": selection} if selection else {}
        diary.events = SummaryWriter(str(args.output / "tensorboard")) if args.tensorboard else None
        status = keep(diary, batches, console)
    return diverged(team) if status == DIVERGED else status


def diverged(team: Accelerator | None) -> int:
    """The exit status; with it a process of a team waits for the others, since the first to leave ends the one that saves."""
    if team:
        team.wait_for_everyone()
    return DIVERGED


def keep(diary: Diary, batches: Iterator[MicroBatch], console: Console) -> int:
    """Train with the diary open; what was reached is saved in any case."""
    try:
        train(diary.trainer, batches, diary.budget, diary.after_step)
        diary.finish()
    except KeyboardInterrupt:
        diary.save()
        console.print(f"interrupted after {diary.trainer.steps} steps; saved, continue with --resume", markup=False)
        return 130
    except FloatingPointError as error:
        diary.save()
        told = "the steps before it are saved; look at the pictures it is given, or --resume with a recipe of a lower rate"
        console.print(f"{error}; {told}", markup=False)
        return DIVERGED
    except (ValueError, OSError) as error:
        console.print(f"rddm train: {error}; {saved_after_all(diary)}", markup=False, soft_wrap=True)
        return FAILED
    if diary.events is not None:
        diary.events.close()
    return 0


def saved_after_all(diary: Diary) -> str:
    """Save what was trained before a failure, if that can be done, and say what became of it."""
    steps = diary.trainer.steps
    if not steps:
        return "nothing was trained"
    try:
        diary.save()
    except OSError as error:
        return f"its {steps} steps could not be saved: {error}"
    return f"saved after {steps} steps, continue with --resume"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
