"""The networks that are compared, and how one of them is trained: same data, same network, only what it models differs.

A task has a network for the residual and one for the noise. SM-Res asks the first, SM-N the second, SM-Res-N the two together, as
the paper's two networks with a loss and an optimiser each. SM-Res-N-1Net, if wanted, asks a third, with six channels at its end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import Tensor, nn

from rddm.objective import HEADS
from rddm.spec import Method, ModelSpec, Objective
from training.checkpoint import RESUME, build, load_checkpoint, write_text
from training.importing.official import SCHEDULES
from training.networks import AnyConfig, SmallConfig, UNetConfig
from training.presets import PRESETS
from training.recipe import Data, EmaConfig, Optimiser, Recipe
from training.run_log import progress_bar
from training.synthesis.draws import Dice, PairSource
from training.trainer import Budget, Trainer, drawn_batches, train

Task = Literal["lowlight", "rain", "generation"]
Part = Literal["residual", "noise", "both"]
PRESET: dict[Task, str] = {"lowlight": "lol", "rain": "raindrop", "generation": "celeba64"}
PARTS: dict[Part, Objective] = {"residual": "pred_res", "noise": "pred_noise", "both": "pred_res_noise"}
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Way:
    """A way of sampling: which networks are asked, and how. `authors` divides by their 1e-6 where SM-N's inversion is empty."""

    name: str
    parts: tuple[Part, ...]
    method: Method
    inversion: Literal["authors", "damped"] = "authors"


WAYS: tuple[Way, ...] = (
    Way("SM-Res", ("residual",), "SM-Res"),
    Way("SM-N", ("noise",), "SM-N"),
    Way("SM-N damped", ("noise",), "SM-N", "damped"),
    Way("SM-Res-N", ("residual", "noise"), "SM-Res-N"),
)
ONE_NETWORK = Way("SM-Res-N-1Net", ("both",), "SM-Res-N")


# Few steps need a quick optimiser, and an average that follows sooner.
QUICK, SOON = Optimiser(name="adam", rate=3e-3, warmup=100, decay="cosine"), EmaConfig(beta=0.99, update_every=5)


@dataclass(frozen=True)
class Course:
    """How long and how one network is trained."""

    steps: int
    batch: int
    accumulate: int = 1
    optimiser: Optimiser = QUICK
    ema: EmaConfig = SOON
    precision: Literal["float32", "bfloat16"] = "float32"


def of_preset(task: Task) -> Course:
    """The authors' course for a task's data set."""
    preset = PRESETS[PRESET[task]]
    return Course(preset.steps, preset.batch, 2, preset.optimiser, EmaConfig())


@dataclass(frozen=True)
class Size:
    """What an experiment costs.

    widths: of the small network; empty for the authors' U-Net, their squashed pictures, clip and equalised histogram. side: pixels
    that restoration is trained on; glyphs: of generated ones; samples: how many are generated. feature_steps: of training
    autoencoder-32, None for its own. guess: networks begin at the best linear guess (benchmarks.reproduce.guess).
    """

    side: int
    glyphs: int
    widths: tuple[int, ...]
    samples: int
    courses: Mapping[Task, Course] = field(default_factory=lambda: {task: of_preset(task) for task in PRESET})
    feature_steps: int | None = None
    guess: bool = False

    @property
    def authors(self) -> bool:
        """Whether all is as the authors set it."""
        return not self.widths

    def shortened(self, steps: int) -> "Size":
        """The same size, every network trained for so many steps."""
        return replace(self, courses={task: replace(course, steps=steps) for task, course in self.courses.items()})

    def network(self, objective: Objective, *, restores: bool) -> AnyConfig:
        """The one network of this size; its last layer has three channels for each output that the objective models."""
        outputs, condition = len(HEADS[objective]), (("image",) if restores else ())
        if self.authors:
            return UNetConfig(condition=condition, outputs=outputs)
        return SmallConfig(condition=condition, outputs=outputs, widths=self.widths, depths=(1,) * len(self.widths))


BATCHES: dict[Task, int] = {"lowlight": 16, "rain": 16, "generation": 32}  # of the quick size
SIZES = {
    "quick": Size(
        side=32,
        glyphs=24,
        widths=(32, 48),
        samples=256,
        courses={task: Course(600, batch, precision="bfloat16") for task, batch in BATCHES.items()},
        feature_steps=300,
        guess=True,
    ),
    "small": Size(
        side=48,
        glyphs=24,
        widths=(64, 64, 96),
        samples=512,
        courses={"lowlight": Course(4000, 4), "rain": Course(8000, 4), "generation": Course(6000, 32)},
    ),
    "paper": Size(side=256, glyphs=64, widths=(), samples=10_000),
}


def spec_of(task: Task, objective: Objective, size: Size, side: int) -> ModelSpec:
    """What is sampled: the authors' steps, schedules and grid; their clip of residuals and equalised input with their network."""
    preset, restores = PRESETS[PRESET[task]], task != "generation"
    return ModelSpec(
        name=f"{task}-{objective}",
        task="restore" if restores else "generate",
        licence="experiment",
        start="image" if restores else "noise",
        condition=("image",) if restores else (),
        objective=objective,
        schedule=SCHEDULES[preset.schedule],
        residual_clip=1.0 if size.authors or not restores else 2.0,
        sm_n_inversion="authors",
        default_steps=preset.sampling,
        max_steps=100,
        image_size=None if restores else (side, side),
        preprocessing=("equalize_histogram",) if size.authors and preset.equalize else (),
    )


def recipe_of(spec: ModelSpec, network: AnyConfig, data: Data, course: Course, seed: int) -> Recipe:
    """Restoration with L1, generation with L2, as the authors."""
    return Recipe(
        spec=spec,
        network=network,
        data=data,
        steps=course.steps,
        batch=course.batch,
        accumulate=course.accumulate,
        loss="l2" if spec.generates else "l1",
        optimiser=course.optimiser,
        ema=course.ema,
        channels_last=network.kind == "small",
        precision=course.precision,
        seed=seed,
        save_every=500 if network.kind == "small" else 5000,
    )


class Together(nn.Module):
    """Several networks asked at once: their outputs one after the other."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> tuple[Tensor, ...]:
        """As the exported graph is called."""
        return tuple(out for network in self.networks for out in network(x_t, condition, time))


Around = Callable[[nn.Module], nn.Module]  # what stands around a network that is trained and sampled


def trained(recipe: Recipe, source: PairSource, folder: Path, console: Console, around: Around | None = None) -> nn.Module:
    """The averaged network of the run in the folder, trained to its end first; an interrupted run goes on where it was saved.

    around: what the loss asks instead of the network itself; not part of what is returned. Raises ValueError for a folder with a
    run of another recipe.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _claim(recipe, folder)
    if _steps_done(folder) < recipe.steps:
        trainer = Trainer(recipe, device)
        if around is not None:
            trainer.forward = around(trainer.network)
        _train(trainer, source, folder, console)
    return build(load_checkpoint(folder)).to(device)


def _claim(recipe: Recipe, folder: Path) -> None:
    text = recipe.model_dump_json(exclude={"data"})
    if (folder / RECIPE).is_file() and (folder / RECIPE).read_text().strip() != text:
        raise ValueError(f"{folder} holds a run of another recipe; name another --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECIPE, text)


def _steps_done(folder: Path) -> int:
    try:
        return int(load_checkpoint(folder).facts["steps"])
    except FileNotFoundError:
        return 0


def _train(trainer: Trainer, source: PairSource, folder: Path, console: Console) -> None:
    recipe, losses = trainer.recipe, [0.0]
    dice = Dice(torch.Generator(trainer.device).manual_seed(recipe.seed))
    if (folder / RESUME).is_file():
        trainer.resume(folder, dice)
    with progress_bar(console) as bar:
        task = bar.add_task(folder.name, total=recipe.steps, loss="", psnr="")

        def after_step(loss: float) -> None:
            losses[:] = [*losses[-99:], loss]
            if trainer.steps % 50 == 0:
                bar.update(task, completed=trainer.steps, loss=f"{sum(losses) / len(losses):.4f}")
            if trainer.steps % recipe.save_every == 0:
                trainer.save(folder, {"loss": sum(losses) / len(losses)}, dice)

        train(trainer, drawn_batches(recipe, trainer.objective, source, dice), Budget(recipe.steps, None), after_step)
    trainer.save(folder, {"loss": sum(losses) / len(losses)}, dice)
    (folder / RESUME).unlink()
