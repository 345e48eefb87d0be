"""What a run leaves in its folder as it goes: log, curve, grids of pictures, checkpoint; and a bar on the terminal."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training import sheets
from training.evaluation.validation import Validation
from training.synthesis.draws import Dice
from training.trainer import Budget, Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
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
    events: "SummaryWriter | None"
    facts: dict[str, Any]

    def sample(self) -> None:
        """Leave a grid of what the averaged network makes."""
        trainer = self.trainer
        picture = sheets.grid(trainer.ema.average, trainer.recipe.spec, self.validation.synthetic)
        sheets.save_grid(self.folder / "samples" / f"{trainer.steps:07d}.png", picture)
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
        plot(self.folder / "log.jsonl", self.folder / "curve.png", self.trainer.recipe.spec.name)
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


def plot(log: Path, picture: Path, title: str) -> None:
    """Draw log.jsonl (one object a line: step, minutes, loss, figures) as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line["step"] for line in lines]
    figures = sorted({key for line in lines for key in line} - {"step", "minutes", "loss"})
    sheet = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = sheet.subplots(1, 2)
    losses = [line["loss"] for line in lines]
    left.plot(steps, losses, color="tab:grey")
    left.set(title=f"{title}: training loss", xlabel="step", yscale="log" if min(losses, default=0) > 0 else "linear")
    for name in figures:
        known = [(line["step"], line[name]) for line in lines if name in line]
        right.plot(*zip(*known, strict=True), label=name)
    right.set(title=f"validation ({lines[-1]['minutes']:.0f} minutes)", xlabel="step")
    if figures:
        right.legend(fontsize=7)
    sheet.savefig(picture, dpi=90)
