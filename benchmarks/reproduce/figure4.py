"""Figure 4: a DDIM against the RDDM that it converts to, over 5..100 steps. The DDIM is trained here, as a diffusers model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from benchmarks.reproduce.arms import Size, recipe_of, trained
from benchmarks.reproduce.features import distance, trained_autoencoder
from rddm.objective import Prediction, predict
from rddm.sampler import Question, sample, trace
from rddm.schedule import make_schedule
from rddm.spec import Curve, ModelSpec, NamedSchedule
from training.checkpoint import build
from training.data.pairs import folder_sources
from training.importing.ddim import convert_ddim
from training.networks.config import DiffusersConfig
from training.recipe import EmojiData, FolderData
from training.synthesis.draws import Dice, PairSource
from training.synthesis.emoji import emoji_sources

STEP_COUNTS = (5, 10, 20, 50, 100)
BATCH, SEED, FEW = 64, 11, 8
DDIM_SCHEDULE = NamedSchedule(alpha=Curve(name="ddim_linear"), beta2=Curve(name="ddim_linear"))


@dataclass(frozen=True)
class Point:
    """One number of steps: Frechet distances of DDIM, of RDDM recomposed and of RDDM subtracting, clipped as diffusers does."""

    steps: int
    ddim: float
    recomposed: float
    subtracting: float


@dataclass(frozen=True)
class Difference:
    """Largest absolute difference from DDIM over all steps and pixels."""

    steps: int
    clip: bool
    eta: float
    update: str
    largest: float


def trained_ddim(size: Size, out: Path, console: Console) -> Path:
    """A diffusers folder: trained with RDDM's trainer, for which DDIM's noise objective is one of its own."""
    from diffusers import DDIMScheduler, UNet2DModel  # noqa: PLC0415  takes seconds to import

    folder = out / "runs" / "ddim"
    if (folder / "unet" / "config.json").is_file():
        return folder
    widths = (128, 128, 256, 256) if size.authors else (16, 32, 64)
    model = UNet2DModel(
        sample_size=size.glyphs,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        layers_per_block=2 if size.authors else 1,
        norm_num_groups=8,
    )
    config = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    network = DiffusersConfig(unet=json.dumps(config), size_multiple=2 ** (len(widths) - 1))
    spec = ModelSpec(
        name="ddim",
        task="generate",
        licence="experiment",
        start="noise",
        condition=(),
        objective="pred_noise",
        schedule=DDIM_SCHEDULE,
        image_size=(size.glyphs, size.glyphs),
    )
    data, source = EmojiData(kind="emoji", size=size.glyphs), emoji_sources(size.glyphs)[0]
    recipe = recipe_of(spec, network, data, size.courses["generation"], SEED)
    run = trained(recipe, source, out / "runs" / "ddim-run", console)
    run.unet.save_pretrained(folder / "unet")
    DDIMScheduler().save_pretrained(folder / "scheduler")
    return folder


def fields(count: int, pictures: int, spec: ModelSpec) -> list[Tensor]:
    """The noise that both samplers use, k = 0 for the start."""
    generator = torch.Generator().manual_seed(SEED)
    return [torch.randn(pictures, 3, *(spec.image_size or (0, 0)), generator=generator) for _ in range(count)]


@torch.inference_mode()
def ddim_states(unet: nn.Module, steps: int, clip: bool, eta: float, noise: list[Tensor]) -> list[Tensor]:
    """diffusers' own loop: x after every step."""
    from diffusers import DDIMScheduler  # noqa: PLC0415

    scheduler = DDIMScheduler(clip_sample=clip)
    scheduler.set_timesteps(steps)
    x, states = noise[0], []
    for i, t in enumerate(scheduler.timesteps):
        out = unet(x, t).sample
        x = scheduler.step(out, t, x, eta=eta, variance_noise=noise[i + 1] if eta else None).prev_sample
        states.append(x)
    return states


@torch.inference_mode()
def rddm_states(network: nn.Module, spec: ModelSpec, steps: int, noise: list[Tensor]) -> list[Tensor]:
    """The converted model's: x after every step."""
    schedule, x_in = make_schedule(spec.schedule, spec.timesteps), torch.zeros_like(noise[0])

    def answer(question: Question) -> Prediction:
        outputs = network(question.x_t, None, torch.tensor([question.time] * len(x_in)))
        return predict(spec, schedule, outputs, question.x_t, x_in, question.t)

    return list(trace(sample(spec, schedule, x_in, lambda k: noise[k], steps), answer))[1:]


def variant(spec: ModelSpec, clip: bool, eta: float, update: str) -> ModelSpec:
    """The converted spec with clipping, eta and update exchanged."""
    bound = 1.0 if clip else None
    return spec.model_copy(update={"image_clip": bound, "residual_clip": bound, "eta": eta, "update": update})


def differences(network: nn.Module, spec: ModelSpec) -> list[Difference]:
    """The equivalence table, on a few pictures."""
    table = []
    cases = [(s, c, e, u) for s in STEP_COUNTS for c in (False, True) for e in (0.0, 1.0) for u in ("noise", "recomposed")]
    for steps, clip, eta, update in track(cases, "differences"):
        noise = fields(steps + 1 if eta else 1, FEW, spec)
        theirs = ddim_states(network.unet, steps, clip, eta, noise)
        ours = rddm_states(network, variant(spec, clip, eta, update), steps, noise)
        largest = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
        table.append(Difference(steps, clip, eta, update, largest))
    return table


def pictures_of(reference: str | None, side: int) -> tuple[PairSource, PairSource]:
    """Training and held-out pictures of the DDIM's kind: the reference's files, or glyphs."""
    if reference is None:
        return emoji_sources(side)
    return folder_sources(FolderData(kind="folder", target=reference, side=side, fit="resize"))


def points(network: nn.Module, spec: ModelSpec, size: Size, out: Path, reference_files: str | None) -> list[Point]:
    """Frechet distances over the step counts, eta 0, clipped."""
    side = (spec.image_size or (0, 0))[0]
    source, held_out = pictures_of(reference_files, side)
    space = trained_autoencoder(source, side, out / "runs" / f"autoencoder-32-{side}.safetensors")
    count = size.samples if size.authors else size.samples // 4
    reference = held_out.draw(size.samples, Dice(torch.Generator().manual_seed(SEED))).target
    noise = fields(1, count, spec)[0].split(BATCH)

    def measured(states: Callable[[list[Tensor]], list[Tensor]]) -> float:
        return distance(space, torch.cat([states([part])[-1].clamp(-1, 1) for part in noise]), reference)

    points = []
    for steps in track(STEP_COUNTS, "figure 4"):
        points.append(
            Point(
                steps,
                measured(lambda part, steps=steps: ddim_states(network.unet, steps, True, 0.0, part)),
                measured(lambda part, steps=steps: rddm_states(network, variant(spec, True, 0.0, "recomposed"), steps, part)),
                measured(lambda part, steps=steps: rddm_states(network, variant(spec, True, 0.0, "noise"), steps, part)),
            )
        )
    return points


def run(
    size: Size, out: Path, console: Console, ddim: Path | None = None, reference: str | None = None
) -> tuple[list[Point], list[Difference]]:
    """Both halves of the figure, of a DDIM on disk with pictures of its kind, or of one trained here."""
    checkpoint = convert_ddim(ddim or trained_ddim(size, out, console), "ddim", "experiment")
    network = build(checkpoint)
    return points(network, checkpoint.spec, size, out, reference), differences(network, checkpoint.spec)
