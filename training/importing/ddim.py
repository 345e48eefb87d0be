"""DDIM <-> RDDM: a diffusers DDIM on disk becomes a model of ours that makes the same images; coefficients both ways.

A DDIM is an RDDM whose given picture is black: x_in = 0, I_res = -x_0, alpha_bar = 1 - sqrt(A), beta_bar = sqrt(1 - A), where A is
DDIM's alphas_cumprod. Where predictions are clipped, only the `recomposed` update keeps the equality (rddm.sampler.update).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from rddm.schedule import Schedule
from rddm.spec import ModelSpec, TableSchedule
from training.checkpoint import Checkpoint
from training.networks.config import DiffusersConfig

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, UNet2DModel

UNET_FOLDERS, SCHEDULER_FOLDERS = ("unet", "."), ("scheduler", ".")
LARGEST_DEVIATION = 1e-4
# What the conversion relies on; every other value is refused by name.
REQUIRED: dict[str, tuple[Any, ...]] = {
    "prediction_type": ("epsilon",),
    "timestep_spacing": ("leading",),
    "steps_offset": (0,),
    "set_alpha_to_one": (True,),
    "thresholding": (False,),
    "rescale_betas_zero_snr": (False,),
}


def from_alphas_cumprod(level: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """DDIM's A_t, shape (T,) -> (alpha_bar, beta_bar), float64."""
    exact = np.asarray(level, dtype=np.float64)
    return 1 - np.sqrt(exact), np.sqrt(1 - exact)


def to_alphas_cumprod(schedule: Schedule) -> NDArray[np.float64]:
    """A_t = (1 - alpha_bar_t)^2, shape (T,): the DDIM that a generating RDDM is.

    Raises ValueError where (1 - alpha_bar)^2 + beta_bar^2 is not 1: DDIM keeps the variance, and has no such schedule.
    """
    level: NDArray[np.float64] = (1 - schedule.alpha_bar) ** 2
    worst = float(np.abs(level + schedule.beta_bar**2 - 1).max())
    if worst > LARGEST_DEVIATION:
        raise ValueError(
            f"(1 - alpha_bar)^2 + beta_bar^2 is up to {worst:.3g} away from 1; only a schedule that keeps the variance "
            f"(within {LARGEST_DEVIATION}) is a DDIM's"
        )
    return level


def to_scheduler(spec: ModelSpec, schedule: Schedule) -> "DDIMScheduler":
    """diffusers' DDIMScheduler that samples a model of this schedule as spec does."""
    from diffusers import DDIMScheduler  # noqa: PLC0415 (an optional package)

    level = to_alphas_cumprod(schedule)
    betas = 1 - level / np.concatenate([[1.0], level[:-1]])
    return DDIMScheduler(
        num_train_timesteps=spec.timesteps,
        trained_betas=betas.astype(np.float32),
        clip_sample=spec.image_clip is not None,
        clip_sample_range=spec.image_clip or 1.0,
    )


def convert_ddim(folder: Path, name: str, licence: str, task: str = "generate") -> Checkpoint:
    """The checkpoint that a diffusers folder (unet/ and scheduler/) becomes.

    Raises FileNotFoundError naming what is missing, ValueError naming a setting that has no equal here, and ModuleNotFoundError
    where diffusers is not installed.
    """
    from diffusers import DDIMScheduler, UNet2DModel  # noqa: PLC0415 (an optional package)

    unet_folder = _holding(folder, UNET_FOLDERS, "config.json")
    scheduler_folder = _holding(folder, SCHEDULER_FOLDERS, "scheduler_config.json")
    scheduler = DDIMScheduler.from_pretrained(str(scheduler_folder))
    check_scheduler(scheduler)
    unet = UNet2DModel.from_pretrained(str(unet_folder), torch_dtype=torch.float32)
    if unet.config.in_channels != 3 or unet.config.out_channels != 3:
        raise ValueError(f"{folder}: expected 3 channels in and out, got {unet.config.in_channels} and {unet.config.out_channels}")
    network = DiffusersConfig(unet=_plain_config(unet), size_multiple=2 ** (len(unet.config.block_out_channels) - 1))
    spec = _spec(scheduler, unet, network, name, licence).model_copy(update={"task": task})
    weights = {f"unet.{key}": value for key, value in unet.state_dict().items()}
    return Checkpoint(spec, network, weights, {"imported": {"file": folder.name, "variant": "DDIM"}})


def _holding(folder: Path, places: tuple[str, ...], file: str) -> Path:
    for place in places:
        if (folder / place / file).is_file():
            return folder / place
    raise FileNotFoundError(f"{folder} is neither a diffusers folder (no {places[0]}/{file}) nor a model's (no VERSION/model.onnx)")


def check_scheduler(scheduler: "DDIMScheduler") -> None:
    """Raises ValueError naming the first setting that the conversion has no equal for."""
    for key, allowed in REQUIRED.items():
        value = scheduler.config.get(key, allowed[0])
        if value not in allowed:
            raise ValueError(f"the scheduler's {key} is {value!r}; only {list(allowed)} can be converted")


def _plain_config(unet: "UNet2DModel") -> str:
    return json.dumps({key: value for key, value in dict(unet.config).items() if not key.startswith("_")}, sort_keys=True)


def _spec(scheduler: "DDIMScheduler", unet: "UNet2DModel", network: DiffusersConfig, name: str, licence: str) -> ModelSpec:
    alpha_bar, beta_bar = from_alphas_cumprod(scheduler.alphas_cumprod.numpy())
    clip = float(scheduler.config.clip_sample_range) if scheduler.config.clip_sample else None
    size = unet.config.sample_size
    side = (size, size) if isinstance(size, int) else tuple(size)
    steps = scheduler.config.num_train_timesteps
    return ModelSpec(
        name=name,
        task="generate",
        licence=licence,
        start="noise",
        condition=(),
        objective="pred_noise",
        timesteps=steps,
        schedule=TableSchedule(alpha_bar=tuple(alpha_bar.tolist()), beta_bar=tuple(beta_bar.tolist())),
        residual_clip=clip,
        image_clip=clip,
        update="recomposed",
        variance="ddim",
        grid="leading",
        default_steps=min(10, steps),
        max_steps=min(100, steps),
        size_multiple=max(8, network.size_multiple),
        image_size=(side[0], side[1]),
    )
