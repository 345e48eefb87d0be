"""`rddm import`: a checkpoint of the authors' trainer, in any of their five code variants, or a diffusers DDIM becomes one of ours.

What the variants share is in the file: shapes, keys and schedule buffers say which network and which tables. What no file tells
(generation or translation, objective of a single network) has the authors' own setting as default and an option to say otherwise.
"""

import argparse
import hashlib
import pickle
import re
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rddm.objective import HEADS
from rddm.schedule import DDIM_BETAS, alphas_cumprod, increments, make_schedule
from rddm.spec import ConditionPart, Curve, ModelSpec, NamedSchedule, Objective, TableSchedule
from training.checkpoint import Checkpoint, build, save_checkpoint
from training.importing.ddim import convert_ddim
from training.networks import UNetConfig

Variant = Literal["E0", "E2", "E3", "E4", "E5", "E6"]
CONDITIONS: dict[int, tuple[ConditionPart, ...]] = {3: (), 6: ("image",), 9: ("image", "mask")}
SCHEDULES: dict[str, NamedSchedule] = {
    "ramp": NamedSchedule(),
    "linspace": NamedSchedule(alpha=Curve(name="decreased_linspace"), beta2=Curve(name="increased_linspace")),
    "converted": NamedSchedule(alpha=Curve(name="ddim_linear"), beta2=Curve(name="ddim_linear")),
}
BUFFERS = (
    "alphas",
    "alphas_cumsum",
    "one_minus_alphas_cumsum",
    "betas2",
    "betas",
    "betas2_cumsum",
    "betas_cumsum",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_mean_coef3",
    "posterior_variance",
    "posterior_log_variance_clipped",
)
# What torch.load raises for bytes that are no checkpoint, depending on where they break off or stray.
UNREADABLE = (
    pickle.UnpicklingError, struct.error, EOFError, OSError, RuntimeError, ValueError, LookupError, AssertionError, TypeError,
)  # fmt: skip
LICENCE = "none stated by the authors of the weights"
FOLDERS = {
    "E0": "partially path-independent generation",
    "E2": "restoration",
    "E3": "automatic objective selection",
    "E4": "inpainting",
    "E5": "translation",
    "E6": "generation",
}


def buffers(schedule: NamedSchedule, timesteps: int) -> dict[str, NDArray[np.float32]]:
    """The twelve arrays that the authors' constructor registers, float32, shape (T,), bit for bit.

    They compute with torch, whose float32 square root and logarithm round differently from NumPy's, and pad what precedes the
    first index with 1; derived values there are overwritten.
    """
    alphas, betas2, alpha_bar, beta_bar2 = _cumulative(schedule, timesteps)
    one = alpha_bar.new_ones(1)
    alpha_before, beta_before = torch.cat([one, alpha_bar[:-1]]), torch.cat([one, beta_bar2[:-1]])
    variance = _with_first(betas2 * beta_before / beta_bar2, 0)
    rest = 1 - alpha_bar
    rest[-1] = 1e-6
    values = (
        alphas,
        alpha_bar,
        rest,
        betas2,
        betas2.sqrt(),
        beta_bar2,
        beta_bar2.sqrt(),
        _with_first(beta_before / beta_bar2, 0),
        _with_first((betas2 * alpha_before - beta_before * alphas) / beta_bar2, 0),
        _with_first(betas2 / beta_bar2, 1),
        variance,
        variance.clamp(min=1e-20).log(),
    )
    return {name: value.float().numpy() for name, value in zip(BUFFERS, values, strict=True)}


def _cumulative(schedule: NamedSchedule, timesteps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """alphas, betas^2, alpha_bar, beta_bar^2 in the precision of the named curves."""
    alphas, alpha_bar = _summed(schedule.alpha, timesteps, 1.0, lambda level: 1 - level.sqrt())
    betas2, beta_bar2 = _summed(schedule.beta2, timesteps, schedule.sum_scale, lambda level: 1 - level)
    return alphas, betas2, alpha_bar, beta_bar2


def _summed(curve: Curve, timesteps: int, scale: float, of_level: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Increments and their sums; DDIM's curves give the sums, and increments of which the first is 0."""
    if curve.name in DDIM_BETAS:
        total = of_level(torch.from_numpy(alphas_cumprod(curve.name, timesteps)))
        return torch.cat([total.new_zeros(1), total.diff()]), total
    parts = torch.from_numpy(increments(curve, timesteps) * scale)
    return parts, parts.cumsum(0).clip(0, 1)


def _with_first(values: Tensor, first: float) -> Tensor:
    values[0] = first
    return values


@dataclass(frozen=True)
class Official:
    """What an official checkpoint file holds: the averaged weights without prefix, the schedule's twelve buffers, and its marks."""

    weights: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    step: int
    one_optimiser: bool
    alpha_res: float | None


@dataclass(frozen=True)
class Choices:
    """What an import is told beside the file; None where the file, or the authors' own setting, decides."""

    name: str | None = None
    variant: Variant | None = None
    objective: Objective | None = None
    sum_scale: float | None = None
    image_size: int = 64
    steps: int | None = None
    eta: float = 0.0
    equalize: bool | None = None
    licence: str = LICENCE


def read_official(path: Path) -> Official:
    """Read a file that the official trainer saved, without running anything in it (weights_only).

    Raises FileNotFoundError, or ValueError saying what is missing and what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).partition(". ")[0]  # torch goes on to advise a load that runs what is in the file
        raise ValueError(f"{path} is no readable torch checkpoint (cut short, or more than tensors inside): {reason}") from error
    if not isinstance(saved, dict) or "ema" not in saved:
        found = sorted(map(str, saved))[:8] if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(f"{path} is no official checkpoint: expected the keys step, model, opt or opt0, ema, scaler; got {found}")
    if not _named_tensors(saved["ema"]):
        raise ValueError(f"{path} is no official checkpoint: its `ema` should hold named tensors")
    averaged = _part(saved["ema"], "ema_model.")
    _check_buffers(path, averaged)
    alpha_res = averaged.get("alpha_res")
    return Official(
        weights=_part(averaged, "model."),
        buffers={name: averaged[name] for name in BUFFERS},
        step=int(saved.get("step", 0)),
        one_optimiser="opt" in saved,
        alpha_res=None if alpha_res is None else float(alpha_res),
    )


def _named_tensors(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(key, str) and isinstance(found[key], Tensor) for key in found)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_buffers(path: Path, averaged: Mapping[str, Tensor]) -> None:
    missing = [name for name in BUFFERS if name not in averaged]
    if missing:
        raise ValueError(f"{path} is partial: its averaged model lacks the schedule buffers {missing}")
    sizes = {name: tuple(averaged[name].shape) for name in BUFFERS}
    if len(set(sizes.values())) != 1 or len(sizes["alphas"]) != 1:
        raise ValueError(f"{path}: schedule buffers must be of one length T, got {sizes}")


def schedule_kind(official: Official) -> str | None:
    """`ramp`, `linspace` or `converted`: whose table alphas_cumsum is; None for another."""
    table = official.buffers["alphas_cumsum"].double().numpy()
    for kind, named in SCHEDULES.items():
        if np.abs(make_schedule(named, len(table)).alpha_bar - table).max() < 1e-5:
            return kind
    return None


def detect_variant(official: Official) -> Variant:
    """Which of the authors' experiment folders trained the file.

    alpha_res marks E3, one optimiser over all E2; then the schedule: converted is E0, linspace E6. E5 and E4 write the same
    keys and buffers as E0 and E6: only the caller can tell that a model without condition starts from an image. Raises ValueError
    for a schedule that none of them ships with.
    """
    if official.alpha_res is not None:
        return "E3"
    if official.one_optimiser:
        return "E2"
    kind = schedule_kind(official)
    if kind is None:
        raise ValueError(f"alphas_cumsum is none of the authors' schedules {sorted(SCHEDULES)}; say which --variant made it")
    return "E0" if kind == "converted" else "E6"


def network_of(official: Official) -> UNetConfig:
    """The U-Net's config from the shapes of its weights. Raises ValueError for weights of another architecture."""
    weights = official.weights
    shared = "init_conv.weight" in weights
    prefix = "" if shared else "unet0."
    first = weights.get(f"{prefix}init_conv.weight")
    if first is None or first.ndim != 4 or first.shape[1] not in CONDITIONS:
        raise ValueError(
            "no U-Net of the authors: expected model.unet0.init_conv.weight or model.init_conv.weight with "
            f"{list(CONDITIONS)} input channels, got {None if first is None else tuple(first.shape)}"
        )
    pattern = re.compile(rf"{re.escape(prefix)}downs\.(\d+)\.3\.weight")
    widths = {int(match[1]): value.shape[0] for name, value in weights.items() if (match := pattern.fullmatch(name))}
    share_encoder: Literal[-1, 0, 1] = 1 if shared else 0 if any(name.startswith("unet1.") for name in weights) else -1
    return UNetConfig(
        condition=CONDITIONS[first.shape[1]],
        outputs=1 if share_encoder == -1 else 2,
        dim=first.shape[0],
        dim_mults=tuple(widths[level] // first.shape[0] for level in sorted(widths)),
        share_encoder=share_encoder,
    )


def objective_of(official: Official, network: UNetConfig, variant: Variant, chosen: Objective | None) -> Objective:
    """The objective asked for, or the authors' for such a file. Raises ValueError where the network has other outputs."""
    if chosen is not None:
        objective = chosen
    elif variant == "E3":
        objective = "pred_res" if official.alpha_res is not None and official.alpha_res > 0.5 else "pred_noise"
    elif network.outputs == 2:
        objective = "pred_res_noise"
    else:
        objective = "pred_res" if network.condition else "pred_noise"
    if len(HEADS[objective]) != network.outputs:
        raise ValueError(f"objective {objective} has {len(HEADS[objective])} outputs, the file's network {network.outputs}")
    return objective


def spec_of(official: Official, network: UNetConfig, variant: Variant, choices: Choices, name: str) -> ModelSpec:
    """The authors' behaviour with this file, to the clip: its own tables, residuals within 1, their grid and SM-N inversion."""
    generates = not network.condition and variant not in ("E4", "E5")
    beta_bar2 = float(official.buffers["betas2_cumsum"][-1])
    sum_scale = 1.0 if schedule_kind(official) == "converted" else round(beta_bar2, 6)
    steps = choices.steps or (10 if not network.condition else 2 if variant == "E3" else 5)
    equalize = variant == "E3" if choices.equalize is None else choices.equalize
    return ModelSpec(
        name=name,
        task="generate" if generates else "restore",
        licence=choices.licence,
        start="noise" if generates else "image",
        condition=network.condition,
        objective=objective_of(official, network, variant, choices.objective),
        time_input="abar_bbar" if variant in ("E0", "E4", "E5") else "t",
        timesteps=len(official.buffers["alphas"]),
        schedule=TableSchedule(
            alpha_bar=tuple(official.buffers["alphas_cumsum"].clamp(0, 1).tolist()),
            beta_bar=tuple(official.buffers["betas_cumsum"].clamp(0, 1).tolist()),
            sum_scale=sum_scale if choices.sum_scale is None else choices.sum_scale,
        ),
        residual_clip=1.0,
        sm_n_inversion="authors",
        order="residual_first" if variant == "E0" else "simultaneous",
        grid="authors",
        eta=choices.eta,
        default_steps=steps,
        max_steps=min(100, len(official.buffers["alphas"])),
        size_multiple=max(8, network.size_multiple),
        image_size=(choices.image_size, choices.image_size) if generates else None,
        preprocessing=("equalize_histogram",) if equalize else (),
    )


def convert(path: Path, choices: Choices) -> Checkpoint:
    """The checkpoint that the official file becomes. Raises ValueError, naming the keys, where weights do not fit the network."""
    official = read_official(path)
    variant = choices.variant or detect_variant(official)
    network = network_of(official)
    spec = spec_of(official, network, variant, choices, choices.name or to_name(path))
    weights = (
        {f"shared.{key}": value for key, value in official.weights.items()} if network.share_encoder == 1 else official.weights
    )
    facts = {
        "steps": official.step,
        "imported": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "variant": variant},
    }
    checkpoint = Checkpoint(spec, network, dict(weights), facts)
    try:
        build(checkpoint)
    except RuntimeError as error:
        raise ValueError(f"{path} is partial, or not the authors' U-Net: {error}") from error
    return checkpoint


def to_name(path: Path) -> str:
    """A model name from a file's: model-80.pt in results/rain becomes `model-80`."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_") or "imported"


def parser() -> argparse.ArgumentParser:
    """The verb's arguments."""
    p = argparse.ArgumentParser(
        prog="rddm import",
        description="Make a checkpoint of this project from the authors' model-N.pt, or from a diffusers DDIM folder.",
        epilog="The result is used like any other: rddm export, rddm evaluate.",
    )
    p.add_argument("source", type=Path, help="a file that the authors' trainer saved, or a folder with unet/ and scheduler/")
    p.add_argument("-o", "--output", type=Path, help="folder of the checkpoint (default: runs/NAME)")
    p.add_argument("--name", help="the model's name (default: from the file's)")
    variants = ", ".join(f"{key} {value}" for key, value in FOLDERS.items())
    p.add_argument(
        "--variant", choices=get_args(Variant), help=f"the authors' experiment, where the file leaves it open: {variants}"
    )
    p.add_argument("--objective", choices=sorted(HEADS), help="what the network models, where the file leaves it open")
    p.add_argument("--sum-scale", type=float, help="beta_bar_T^2 of the start noise (default: from the file; 1 if converted)")
    p.add_argument("--image-size", type=int, default=64, help="side of generated pictures (default: %(default)s)")
    p.add_argument("--steps", type=int, help="default number of steps (default: 5; 10 for generation; 2 for E3)")
    p.add_argument("--eta", type=float, default=0.0, help="noise added back in each step, 0..1 (default: %(default)s)")
    p.add_argument(
        "--equalize", action=argparse.BooleanOptionalAction, help="equalise the input's histogram first (default: E3 only)"
    )
    p.add_argument("--licence", default=LICENCE, help="licence of the weights (default: %(default)s)")
    return p


def main(argv: list[str]) -> int:
    """Import the authors' checkpoint, or a diffusers DDIM. 2 for a file that cannot be, or a folder that cannot be written."""
    args = vars(parser().parse_args(argv))
    source: Path = args.pop("source")
    output: Path | None = args.pop("output")
    try:
        checkpoint = _checkpoint(source, Choices(**args))
    except (ValueError, FileNotFoundError) as error:
        print(f"rddm import: {error}", file=sys.stderr)
        return 2
    folder = output or Path("runs") / checkpoint.spec.name
    try:
        save_checkpoint(folder, checkpoint)
    except OSError as error:
        print(f"rddm import: {folder} cannot be written: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: {describe(checkpoint)}")
    return 0


def _checkpoint(source: Path, choices: Choices) -> Checkpoint:
    if source.is_dir():
        return convert_ddim(source, choices.name or to_name(source), choices.licence)
    return convert(source, choices)


def describe(checkpoint: Checkpoint) -> str:
    """One line about what was understood."""
    spec, facts = checkpoint.spec, checkpoint.facts.get("imported", {})
    size = sum(value.numel() for value in checkpoint.weights.values())
    return (
        f"{spec.name} ({facts.get('variant', 'DDIM')}), objective {spec.objective}, condition {list(spec.condition)}, "
        f"start {spec.start}, time {spec.time_input}, T {spec.timesteps}, {size:,} parameters"
    )
