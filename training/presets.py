"""The authors' settings by data set: Table 4 of their appendix, as far as it is known, and what their training scripts say.

A preset is a recipe that lacks only its files. `unknown` lists the settings for which no source is at hand; the value there is this
project's choice, and says so wherever the preset is shown.
"""

from dataclasses import dataclass

from rddm.objective import HEADS
from rddm.spec import ConditionPart, ModelSpec, NamedSchedule, Objective, TableSchedule
from training.importing.official import LICENCE, SCHEDULES
from training.networks import UNetConfig
from training.networks.config import ATTENDED_PIXELS
from training.recipe import FolderData, Optimiser, Recipe

ADAM = Optimiser(name="adam", rate=8e-5, betas=(0.9, 0.99))
RADAM = Optimiser(name="radam", rate=2e-4, betas=(0.9, 0.999), per_network=True)
RADAM_SLOW = Optimiser(name="radam", rate=8e-5, betas=(0.9, 0.999), per_network=True)
CELEBA_WINDOW = (57, 25, 128, 128)


@dataclass(frozen=True)
class Preset:
    """One line of the table. side: pixels trained on; sampling: steps; needs: which of target, given, mask the data must have."""

    name: str
    objective: Objective
    side: int
    batch: int
    steps: int
    sampling: int
    optimiser: Optimiser
    loss: str = "l1"
    sum_scale: float = 1.0
    condition: tuple[ConditionPart, ...] = ("image",)
    generates: bool = False
    schedule: str = "ramp"
    needs: tuple[str, ...] = ("target", "given")
    equalize: bool = False
    window: tuple[int, int, int, int] | None = None
    filter: str = "bicubic"
    hole: bool = False
    pairing: str = "name"
    time_input: str = "t"
    unknown: tuple[str, ...] = ()


_GENERATION = {"side": 64, "batch": 128, "steps": 100_000, "sampling": 10, "optimiser": RADAM, "loss": "l2", "condition": ()}
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "celeba64",
            "pred_res_noise",
            **_GENERATION,
            generates=True,
            schedule="linspace",
            needs=("target",),
            window=CELEBA_WINDOW,
            filter="bilinear",
        ),
        Preset(
            "celebahq256",
            "pred_noise",
            side=256,
            batch=64,
            steps=500_000,
            sampling=10,
            optimiser=RADAM,
            loss="l2",
            condition=(),
            generates=True,
            schedule="converted",
            needs=("target",),
            unknown=("batch", "steps", "optimiser"),
        ),
        Preset("lol", "pred_res", side=256, batch=1, steps=80_000, sampling=2, optimiser=ADAM, equalize=True),
        Preset(
            "sid_rgb",
            "pred_res",
            side=256,
            batch=1,
            steps=500_000,
            sampling=2,
            optimiser=ADAM,
            equalize=True,
            unknown=("objective", "sum_scale", "steps", "equalize"),
        ),
        Preset("raindrop", "pred_res_noise", side=256, batch=1, steps=120_000, sampling=5, optimiser=ADAM),
        Preset(
            "istd",
            "pred_res_noise",
            side=256,
            batch=1,
            steps=80_000,
            sampling=5,
            optimiser=ADAM,
            sum_scale=0.01,
            condition=("image", "mask"),
            needs=("target", "given", "mask"),
            unknown=("objective", "steps"),
        ),
        Preset(
            "gopro",
            "pred_res_noise",
            side=256,
            batch=1,
            steps=400_000,
            sampling=2,
            optimiser=RADAM_SLOW,
            unknown=("sum_scale", "steps", "optimiser"),
        ),
        Preset(
            "inpaint64",
            "pred_res_noise",
            **{**_GENERATION, "batch": 64},
            schedule="linspace",
            needs=("target",),
            hole=True,
            filter="bilinear",
            time_input="abar_bbar",
        ),
        Preset(
            "translate64",
            "pred_res_noise",
            **{**_GENERATION, "batch": 64},
            schedule="converted",
            pairing="random",
            time_input="abar_bbar",
        ),
    )
}


def preset_named(name: str) -> Preset:
    """The preset. Raises ValueError, with the list, for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; expected one of {sorted(PRESETS)}")
    return PRESETS[name]


def network_of(preset: Preset, dim: int = 64, dim_mults: tuple[int, ...] = (1, 2, 4, 8)) -> UNetConfig:
    """The authors' U-Net: two where the objective has two outputs."""
    outputs = len(HEADS[preset.objective])
    return UNetConfig(
        condition=preset.condition, outputs=outputs, dim=dim, dim_mults=dim_mults, share_encoder=0 if outputs == 2 else -1
    )


def spec_of(preset: Preset) -> ModelSpec:
    """What a model of this preset is. Residuals within 2, as new models have them."""
    schedule: NamedSchedule | TableSchedule = SCHEDULES[preset.schedule].model_copy(update={"sum_scale": preset.sum_scale})
    return ModelSpec.model_validate(
        {
            "name": preset.name,
            "task": "generate" if preset.generates else "restore",
            "licence": LICENCE,
            "start": "noise" if preset.generates else "image",
            "condition": preset.condition,
            "objective": preset.objective,
            "time_input": preset.time_input,
            "schedule": schedule,
            "default_steps": preset.sampling,
            "max_steps": 100,
            "most_pixels": None if preset.generates else ATTENDED_PIXELS,
            "image_size": (preset.side, preset.side) if preset.generates else None,
            "preprocessing": ("equalize_histogram",) if preset.equalize else (),
        }
    )


def to_recipe(preset: Preset, files: dict[str, str], crop: bool = False) -> Recipe:
    """The training run on these files (target, given, mask, and val_ of each).

    The authors squash whole pictures to side x side; crop trains on windows at full resolution instead. Raises ValueError naming a
    source that the preset needs.
    """
    missing = [part for part in preset.needs if not files.get(part)]
    if missing:
        raise ValueError(f"preset {preset.name} needs {', '.join(f'--{part}' for part in missing)}")
    data = FolderData.model_validate(
        {
            "kind": "folder",
            **files,
            "side": preset.side,
            "fit": "crop" if crop else "resize",
            "window": preset.window,
            "filter": preset.filter,
            "hole": preset.hole,
            "pairing": preset.pairing,
            "equalize": preset.equalize,
        }
    )
    return Recipe.model_validate(
        {
            "spec": spec_of(preset),
            "network": network_of(preset),
            "data": data,
            "steps": preset.steps,
            "batch": preset.batch,
            "loss": preset.loss,
            "optimiser": preset.optimiser,
            "channels_last": False,
        }
    )


def describe(preset: Preset) -> str:
    """One line of the table; settings without a source are marked with `?`."""
    shown = {
        "objective": preset.objective,
        "side": preset.side,
        "batch": preset.batch,
        "sum_scale": preset.sum_scale,
        "sampling": preset.sampling,
        "loss": preset.loss,
        "optimiser": f"{preset.optimiser.name} {preset.optimiser.rate:g}",
        "steps": preset.steps,
        "equalize": preset.equalize,
    }
    return f"{preset.name}: " + ", ".join(f"{key} {value}{'?' if key in preset.unknown else ''}" for key, value in shown.items())
