"""A checkpoint of the authors' trainer, in any of their five code variants, or of DiffUIR's, becomes one of ours.

What the variants share is in the file: shapes, keys and schedule buffers say which network and which tables. What no file tells
(generation or translation, objective of a single network) has the authors' own setting as default and an option to say otherwise.
"""

import hashlib
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rddm.objective import HEADS
from rddm.schedule import DDIM_BETAS, alphas_cumprod, increments, make_schedule
from rddm.spec import ConditionPart, Curve, ModelSpec, NamedSchedule, Objective, TableSchedule
from training.checkpoint import Checkpoint, build
from training.importing.names import to_name
from training.networks import UNetConfig
from training.networks.config import ATTENDED_PIXELS

Variant = Literal["E0", "E2", "E3", "E4", "E5", "E6", "DiffUIR"]
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
# DiffUIR registers its delta beside; its U-Net, averaging and file are RDDM's (its code is MIT licensed).
DELTA = "delta_cumsum"
WRAPPERS = re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+")  # prefixes that DistributedDataParallel and torch.compile leave in keys
DIFFUIR_LICENCE = "MIT (its authors' code); none stated for the weights"
LICENCE = "none stated by the authors of the weights"
FOLDERS = {
    "E0": "partially path-independent generation",
    "E2": "restoration",
    "E3": "automatic objective selection",
    "E4": "inpainting",
    "E5": "translation",
    "E6": "generation",
    "DiffUIR": "universal restoration, by DiffUIR's trainer",
}


def buffers(schedule: NamedSchedule, timesteps: int) -> dict[str, NDArray[np.float32]]:
    """The twelve arrays that the authors' constructor registers, float32, shape (T,).

    Sums and quotients are the authors' bit for bit. Roots and logarithms are torch's, which the processor's vector unit rounds:
    they are within one unit in the last place of the authors'. What precedes the first index is padded with 1; derived values
    there are overwritten.
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
    """What is stated of an import beside the file; None where the file, or the authors' own setting, decides."""

    name: str | None = None
    task: str | None = None
    variant: Variant | None = None
    objective: Objective | None = None
    sum_scale: float | None = None
    image_size: int | None = None
    steps: int | None = None
    eta: float | None = None
    equalize: bool | None = None
    licence: str | None = None


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
        keys = sorted(map(str, saved))[:8] if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(f"{path} is no official checkpoint: expected the keys step, model, opt or opt0, ema, scaler; got {keys}")
    if not _named_tensors(saved["ema"]):
        raise ValueError(f"{path} is no official checkpoint: its `ema` should hold named tensors")
    averaged = _part({WRAPPERS.sub(r"\1", key): value for key, value in saved["ema"].items()}, "ema_model.")
    _check_buffers(path, averaged)
    alpha_res = averaged.get("alpha_res")
    return Official(
        weights=_part(averaged, "model."),
        buffers={name: averaged[name] for name in (*BUFFERS, DELTA) if name in averaged},
        step=int(saved.get("step", 0)),
        one_optimiser="opt" in saved,
        alpha_res=None if alpha_res is None else float(alpha_res),
    )


def _named_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) and isinstance(value[key], Tensor) for key in value)


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
    """The authors' experiment folder whose network the file holds.

    alpha_res marks E3, one optimiser over all E2; then the schedule: converted is E0, linspace E6. E5 and E4 write the same
    keys and buffers as E0 and E6: only the caller can tell that a model without condition starts from an image. Raises ValueError
    for a schedule that none of them ships with.
    """
    if DELTA in official.buffers:
        return "DiffUIR"
    if official.alpha_res is not None:
        return "E3"
    if official.one_optimiser:
        return "E2"
    kind = schedule_kind(official)
    if kind is None:
        raise ValueError(f"alphas_cumsum is none of the authors' schedules {sorted(SCHEDULES)}; say which --variant made it")
    return "E0" if kind == "converted" else "E6"


def possible_variants(official: Official) -> tuple[Variant, ...]:
    """The variants that could have written the file; every one where its schedule is none that they ship with."""
    if DELTA in official.buffers:
        return ("DiffUIR",)
    if official.alpha_res is not None:
        return ("E3",)
    if official.one_optimiser:
        return ("E2",)
    of_kind: dict[str | None, tuple[Variant, ...]] = {"ramp": ("E2",), "linspace": ("E4", "E6"), "converted": ("E0", "E5")}
    return of_kind.get(schedule_kind(official), ("E0", "E2", "E4", "E5", "E6"))


def _variant(official: Official, chosen: Variant | None) -> Variant:
    """The chosen variant, or the detected one. Raises ValueError for one that cannot have written the file."""
    if chosen is None:
        return detect_variant(official)
    if chosen not in (possible := possible_variants(official)):
        raise ValueError(f"--variant {chosen} contradicts the file, whose keys and schedule are those of {' or '.join(possible)}")
    return chosen


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
    """The authors' behaviour with this file, to the clip: its own tables, residuals within 1, their grid and SM-N inversion.

    Raises ValueError for a choice that says nothing for such a model.
    """
    generates = not network.condition and variant not in ("E4", "E5")
    _check_choices(choices, generates)
    side = choices.image_size if choices.image_size is not None else 64
    equalize = variant == "E3" if choices.equalize is None else choices.equalize
    return ModelSpec(
        name=name,
        task=choices.task or ("generate" if generates else "restore"),
        licence=choices.licence or (DIFFUIR_LICENCE if variant == "DiffUIR" else LICENCE),
        start="noise" if generates else "image",
        condition=network.condition,
        objective=objective_of(official, network, variant, choices.objective),
        time_input="abar_bbar" if variant in ("E0", "E4", "E5", "DiffUIR") else "t",
        timesteps=len(official.buffers["alphas"]),
        schedule=_tables(official, choices.sum_scale),
        residual_clip=1.0,
        sm_n_inversion="authors",
        order={"E0": "residual_first", "DiffUIR": "residual_only"}.get(variant, "simultaneous"),
        grid="authors",
        eta=choices.eta or 0.0,
        default_steps=_default_steps(network, variant) if choices.steps is None else choices.steps,
        max_steps=min(100, len(official.buffers["alphas"])),
        # DiffUIR's U-Net pads to one more halving than it has.
        size_multiple=max(8, network.size_multiple * (2 if variant == "DiffUIR" else 1)),
        most_pixels=None if generates else ATTENDED_PIXELS,
        image_size=(side, side) if generates else None,
        preprocessing=("equalize_histogram",) if equalize else (),
    )


def _check_choices(choices: Choices, generates: bool) -> None:
    given = {"--eta": choices.eta, "--image-size": choices.image_size}
    if generates:
        given = {"--sum-scale": choices.sum_scale, "--equalize": choices.equalize or None}
    given_options = [option for option, value in given.items() if value is not None]
    if given_options:
        kind = "generates from noise alone" if generates else "restores: the authors add no noise back, and any size is taken"
        raise ValueError(f"{' and '.join(given_options)} cannot be used with this file, whose model {kind}")


def _default_steps(network: UNetConfig, variant: Variant) -> int:
    return {"E3": 2, "DiffUIR": 3}.get(variant, 5 if network.condition else 10)


def _tables(official: Official, sum_scale: float | None) -> TableSchedule:
    """The file's own tables. The start noise of DiffUIR (0.01 in its code) and of converted files is in no buffer."""
    beta_bar2 = float(official.buffers["betas2_cumsum"][-1])
    usual = 0.01 if DELTA in official.buffers else 1.0 if schedule_kind(official) == "converted" else round(beta_bar2, 6)
    delta = official.buffers.get(DELTA)
    return TableSchedule(
        alpha_bar=tuple(official.buffers["alphas_cumsum"].clamp(0, 1).tolist()),
        beta_bar=tuple(official.buffers["betas_cumsum"].clamp(0, 1).tolist()),
        delta_bar=None if delta is None else tuple(delta.clamp(0, 1).tolist()),
        sum_scale=usual if sum_scale is None else sum_scale,
    )


def convert(path: Path, choices: Choices) -> Checkpoint:
    """The checkpoint that the official file becomes. Raises ValueError, naming the keys, where weights do not fit the network."""
    official = read_official(path)
    variant = _variant(official, choices.variant)
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
