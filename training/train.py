"""`rddm train RECIPE`: one run, from a recipe to a checkpoint, resumable at any step.

python -m rddm train lowlight --output runs/lowlight --minutes 90
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import ValidationError
from rich.console import Console

from rddm.spec import ModelSpec
from training.checkpoint import FACTS, RESUME, WEIGHTS, check_folder
from training.data.datasets import make_sources
from training.evaluation.evaluate import Example
from training.evaluation.validation import Validation, read_choices, read_pairs
from training.objective import Objective
from training.presets import PRESETS, describe, to_recipe
from training.recipe import FolderData, Recipe, SynthesisData, built_in_recipes, load_recipe
from training.run_log import RunLog, progress_bar
from training.selection import select, with_objective
from training.synthesis.draws import Dice, PairSource
from training.trainer import Budget, MicroBatch, Trainer, drawn_batches, train

DIVERGED, FAILED = 1, 3  # exit statuses
WITHOUT_BFLOAT16 = {"NO AVX", "AVX2"}  # processors on which convolutions in bfloat16 take 20 times as long as in float32


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
    files = p.add_argument_group(
        "files of a preset, or of a recipe that reads files: a folder, a list or a glob pattern each, matched by name"
    )
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
    p.add_argument("--val-split", type=Path, metavar="FILE", help="which pictures may choose weights (docs/models/splits.toml)")
    p.add_argument("--val-sets", nargs="+", default=[], metavar="SET", help="sets of it; DIR is where its paths begin")
    p.add_argument("--photographs", type=Path, metavar="DIR", help="free photographs and their ATTRIBUTION.tsv, for the pool")
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
    if name not in built_in and not Path(name).is_file():
        raise ValueError(f"unknown recipe {name!r}; expected a TOML file or one of {sorted({*built_in, *PRESETS})}")
    return on_files(load_recipe(built_in.get(name, Path(name))), files or {})


def on_files(recipe: Recipe, files: dict[str, str]) -> Recipe:
    """The recipe with these files instead of its own. Raises ValueError for a recipe whose pictures are no files."""
    if not files:
        return recipe
    if not isinstance(recipe.data, FolderData):
        part, value = next(iter(files.items()))
        raise ValueError(f"--{part.replace('_', '-')} {value}: data of kind {recipe.data.kind!r} is not read from files")
    return recipe.model_copy(update={"data": FolderData.model_validate(recipe.data.model_dump() | files)})


def overridden(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with what the arguments say instead. Raises ValueError naming the option, its value and what is allowed."""
    chosen = {name: value for name in ("seed", "steps", "batch", "compile") if (value := getattr(args, name)) is not None}
    if args.photographs is not None:
        if not isinstance(recipe.data, SynthesisData):
            raise ValueError(f"--photographs {args.photographs}: data of kind {recipe.data.kind!r} has no pool of clean pictures")
        chosen["data"] = recipe.data.model_copy(update={"photographs": args.photographs}).model_dump()
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


def in_hardware(recipe: Recipe, device: torch.device, console: Console) -> Recipe:
    """The recipe in float32, which is said, where the processor would compute its bfloat16 in software."""
    capability = torch.backends.cpu.get_cpu_capability()  # type: ignore[no-untyped-call]
    if device.type != "cpu" or recipe.precision == "float32" or capability not in WITHOUT_BFLOAT16:
        return recipe
    console.print(f"training in float32: this processor ({capability}) has no bfloat16", markup=False)
    return recipe.model_copy(update={"precision": "float32"})


def distributed(args: argparse.Namespace) -> Accelerator | None:
    """The processes that `accelerate launch` started this run with; None for one process. Raises ValueError for a time limit."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if args.minutes:
        raise ValueError("--minutes could end processes at different steps; several of them take --steps")
    return Accelerator(cpu=args.device == "cpu")


def selected(recipe: Recipe, source: PairSource, dice: Dice, console: Console) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the objective that AOSA finds for its data, and what is noted of it."""
    selection = select(recipe, drawn_batches(recipe, Objective(recipe, dice.device), source, dice), dice.device)
    console.print(f"after {selection.steps} steps alpha is {selection.alpha:.4f}: training {selection.objective}", markup=False)
    return with_objective(recipe, selection.objective), asdict(selection)


def check_free(folder: Path) -> None:
    """Raises ValueError for a folder that holds a run already, which a new one would overwrite, and for a file."""
    check_folder(folder)
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
    started, team = time.monotonic(), distributed(args)
    device, process = (team.device, team.process_index) if team else (device_of(args.device), 0)
    recipe = in_hardware(recipe, device, console)
    dice = Dice(torch.Generator(device).manual_seed(recipe.seed + process))
    full_size = validation_pairs(args, recipe.spec.scale)
    training_pairs, held_out = make_sources(recipe.data, args.cache, device)
    selection: dict[str, Any] = {}
    if args.select:
        recipe, selection = selected(recipe, training_pairs, Dice(torch.Generator(device).manual_seed(recipe.seed)), console)
    trainer = Trainer(recipe, device)
    if args.start_from:
        before = trainer.start_from(args.start_from)
        if others := meant_otherwise(before, recipe.spec):
            words = f"{args.start_from} was trained with another {', '.join(others)}, which it must learn first"
            console.print(words, markup=False, soft_wrap=True)
    trainer.freeze(args.freeze)
    fit: dict[str, float] = {}
    if args.resume:
        trainer.resume(args.output, dice)
    else:
        fit = trainer.fit_estimate(training_pairs)
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
    validation = Validation.of(recipe, held_out, device, full_size)
    with progress_bar(console) as bar:
        run_log = RunLog(trainer, args.output, dice, validation, bar, budget)
        run_log.sample_every, run_log.facts = args.sample_every, fit | ({"selection": selection} if selection else {})
        if args.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  few runs ask for it

            run_log.events = SummaryWriter(str(args.output / "tensorboard"))
        status = train_and_save(run_log, batches, console)
    return diverged(team) if status == DIVERGED else status


def meant_otherwise(before: ModelSpec, now: ModelSpec) -> list[str]:
    """Fields of a spec that say what a network takes and answers, and that differ."""
    return [
        name
        for name in ("start", "objective", "time_input", "schedule", "preprocessing")
        if getattr(before, name) != getattr(now, name)
    ]


def validation_pairs(args: argparse.Namespace, scale: int) -> list[Example]:
    """The full-size pairs that the arguments name, none without any. Raises ValueError for sets without their file or folder."""
    if args.val_split is None and not args.val_sets:
        return read_pairs(args.val_pairs, args.val_glob, scale) if args.val_pairs else []
    if args.val_split is None or not args.val_sets or args.val_pairs is None:
        raise ValueError("--val-split FILE, --val-sets SET ... and --val-pairs DIR belong together; expected all three")
    return read_choices(args.val_split, args.val_sets, args.val_pairs, scale)


def diverged(team: Accelerator | None) -> int:
    """The exit status; with it a process of a team waits for the others, since the first to leave ends the one that saves."""
    if team:
        team.wait_for_everyone()
    return DIVERGED


def train_and_save(run_log: RunLog, batches: Iterator[MicroBatch], console: Console) -> int:
    """Train with the log open; what was reached is saved in any case."""
    try:
        train(run_log.trainer, batches, run_log.budget, run_log.after_step)
        run_log.finish()
    except KeyboardInterrupt:
        run_log.save()
        console.print(f"interrupted after {run_log.trainer.steps} steps; saved, continue with --resume", markup=False)
        return 130
    except FloatingPointError as error:
        run_log.save()
        advice = "the steps before it are saved; look at the pictures it is given, or --resume with a recipe of a lower rate"
        console.print(f"{error}; {advice}", markup=False)
        return DIVERGED
    except (ValueError, OSError) as error:
        console.print(f"rddm train: {error}; {save_or_explain(run_log)}", markup=False, soft_wrap=True)
        return FAILED
    if run_log.events is not None:
        run_log.events.close()
    return 0


def save_or_explain(run_log: RunLog) -> str:
    """Save what was trained before a failure, if that can be done, and say what became of it."""
    steps = run_log.trainer.steps
    if not steps:
        return "nothing was trained"
    try:
        run_log.save()
    except OSError as error:
        return f"its {steps} steps could not be saved: {error}"
    return f"saved after {steps} steps, continue with --resume"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
