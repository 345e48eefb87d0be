"""`rddm import`: a checkpoint of the authors' trainer, in any of their five code variants, or a diffusers DDIM becomes one of ours.

What the variants share is in the file: shapes, keys and schedule buffers say which network and which tables. What no file tells
(generation or translation, objective of a single network) has the authors' own setting as default and an option to say otherwise.
"""

import argparse
import hashlib
import pickle
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rddm.objective import HEADS
from rddm.schedule import increments, make_schedule
from rddm.spec import ConditionPart, Curve, ModelSpec, NamedSchedule, Objective, TableSchedule
from training.checkpoint import Checkpoint, build, save_checkpoint
from training.network import UNetConfig

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
    if schedule.alpha.name.startswith("ddim_"):
        from rddm.schedule import alphas_cumprod

        level = torch.from_numpy(alphas_cumprod(schedule.alpha.name, timesteps))
        alpha_bar, beta_bar2 = 1 - level.sqrt(), 1 - level
        return _differences(alpha_bar), _differences(beta_bar2), alpha_bar, beta_bar2
    alphas = torch.from_numpy(increments(schedule.alpha, timesteps).copy())
    betas2 = torch.from_numpy(increments(schedule.beta2, timesteps) * schedule.sum_scale)
    return alphas, betas2, alphas.cumsum(0).clip(0, 1), betas2.cumsum(0).clip(0, 1)


def _differences(total: Tensor) -> Tensor:
    return torch.cat([total.new_zeros(1), total.diff()])


def _with_first(values: Tensor, first: float) -> Tensor:
    values[0] = first
    return values
