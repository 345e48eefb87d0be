"""The sampling methods that are compared, and how one of them is trained: same data, same network, only the method differs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from rddm.objective import HEADS
from rddm.spec import Curve, Method, ModelSpec, NamedSchedule, Objective
from training.checkpoint import RESUME, build, load_checkpoint
from training.network import AnyConfig, SmallConfig, UNetConfig
from training.recipe import Data, EmaConfig, FolderData, Optimiser, Recipe
from training.synthesis.draws import Dice, PairSource
from training.train import Budget, Trainer, drawn_batches, progress_bar, train

OBJECTIVES: dict[Method, Objective] = {"SM-Res": "pred_res", "SM-N": "pred_noise", "SM-Res-N": "pred_res_noise"}
LINSPACE = NamedSchedule(alpha=Curve(name="decreased_linspace"), beta2=Curve(name="increased_linspace"))


@dataclass(frozen=True)
class Size:
    """What an experiment costs. side: pixels; widths: of the small network, or empty for the authors' U-Net of dim 64."""

    side: int
    widths: tuple[int, ...]
    restoring_steps: int
    generating_steps: int
    batch: int
    pictures: int

    def network(self, objective: Objective, *, restores: bool) -> AnyConfig:
        """The one network of this size; its last layer has three channels for each output that the objective models."""
        outputs, condition = len(HEADS[objective]), (("image",) if restores else ())
        if self.widths:
            depths = (1,) * len(self.widths)
            return SmallConfig(condition=condition, outputs=outputs, widths=self.widths, depths=depths)
        return UNetConfig(condition=condition, outputs=outputs, share_encoder=0 if outputs == 2 else -1)

    def ema(self) -> EmaConfig:
        """Few steps need an average that follows sooner."""
        return EmaConfig(beta=0.995, update_every=1) if self.widths else EmaConfig()

    def optimiser(self, *, restores: bool) -> Optimiser:
        """The authors' for their network; a quick one for the small network."""
        if self.widths:
            return Optimiser(name="adam", rate=1e-3, warmup=100, decay="cosine")
        return Optimiser() if restores else Optimiser(name="radam", rate=2e-4, betas=(0.9, 0.999))


SIZES = {
    "small": Size(side=64, widths=(24, 32, 48, 64), restoring_steps=400, generating_steps=700, batch=8, pictures=64),
    "paper": Size(side=256, widths=(), restoring_steps=120_000, generating_steps=100_000, batch=1, pictures=10_000),
}


def restoring_spec(name: str, objective: Objective, sampling: int) -> ModelSpec:
    """SM-N as the authors invert it; the damped inversion is compared afterwards, on the same weights."""
    return ModelSpec(
        name=name,
        task="restore",
        licence="experiment",
        objective=objective,
        sm_n_inversion="authors",
        default_steps=sampling,
        max_steps=100,
        size_multiple=16,
    )


def generating_spec(name: str, objective: Objective, sampling: int, side: int) -> ModelSpec:
    """Generation with the authors' linspace schedule; residuals of pictures alone lie within 1."""
    return ModelSpec(
        name=name,
        task="generate",
        licence="experiment",
        start="noise",
        condition=(),
        objective=objective,
        schedule=LINSPACE,
        residual_clip=1.0,
        sm_n_inversion="authors",
        default_steps=sampling,
        max_steps=100,
        size_multiple=16,
        image_size=(side, side),
    )


def recipe_of(spec: ModelSpec, network: AnyConfig, data: Data, size: Size) -> Recipe:
    """Restoration with L1, generation with L2, as the authors."""
    restores = spec.start == "image"
    return Recipe(
        spec=spec,
        network=network,
        data=data,
        steps=size.restoring_steps if restores else size.generating_steps,
        batch=size.batch if restores else max(32, size.batch),
        accumulate=1 if size.widths else 2,
        loss="l1" if restores else "l2",
        optimiser=size.optimiser(restores=restores),
        ema=size.ema(),
    )


def trained(recipe: Recipe, source: PairSource, folder: Path, console: Console) -> tuple[nn.Module, ModelSpec]:
    """The averaged network of the run in the folder; trained now unless it was before."""
    if not (folder / RESUME).is_file():
        _train(recipe, source, folder, console)
    checkpoint = load_checkpoint(folder)
    return build(checkpoint), checkpoint.spec


def _train(recipe: Recipe, source: PairSource, folder: Path, console: Console) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer, dice = Trainer(recipe, device), Dice(torch.Generator(device).manual_seed(recipe.seed))
    losses: list[float] = []
    with progress_bar(console) as bar:
        task = bar.add_task(recipe.spec.name, total=recipe.steps, loss="", psnr="")

        def after_step(loss: float) -> None:
            losses.append(loss)
            if trainer.steps % 50 == 0:
                bar.update(task, completed=trainer.steps, loss=f"{sum(losses[-50:]) / 50:.4f}")

        train(trainer, drawn_batches(recipe, trainer.objective, source, dice), Budget(recipe.steps, None), after_step)
    trainer.save(folder, {"loss": sum(losses[-100:]) / len(losses[-100:])}, dice)


def folder_data(data: Path, task: str, files: str, side: int, fit: str) -> FolderData:
    """DATA/TASK/{train,val}/{target,input}/FILES, matched by name."""

    def source(split: str, part: str) -> str:
        return str(data / task / split / part / files)

    return FolderData.model_validate(
        {
            "kind": "folder",
            "target": source("train", "target"),
            "given": source("train", "input"),
            "val_target": source("val", "target"),
            "val_given": source("val", "input"),
            "side": side,
            "fit": fit,
        }
    )
