"""A DDIM and the RDDM that it becomes make the same images.

Both run in float64: a random network amplifies float32's rounding errors hundredfold over 33 clipped steps, in DDIM against
itself too.
"""

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rddm.objective import Prediction, predict
from rddm.sampler import Question, sample, trace
from rddm.schedule import make_schedule
from rddm.spec import Curve, ModelSpec, NamedSchedule
from training.checkpoint import build, load_checkpoint
from training.importing.command import main
from training.importing.ddim import convert_ddim, from_alphas_cumprod, to_alphas_cumprod, to_scheduler

warnings.filterwarnings("ignore", module="diffusers")
# imported where it is needed: that takes a second, and every process of a run collects every file
pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="diffusers is not installed")

BATCH, SIDE = 2, 16


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    """A UNet2DModel of two small levels, random weights."""
    from diffusers import UNet2DModel  # noqa: PLC0415

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        layers_per_block=1,
    ).eval()


def saved(folder: Path, unet: torch.nn.Module, **settings: object) -> Path:
    from diffusers import DDIMScheduler  # noqa: PLC0415

    unet.save_pretrained(folder / "unet")
    DDIMScheduler(**settings).save_pretrained(folder / "scheduler")
    return folder


def fields(count: int) -> Tensor:
    return torch.randn(count, BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def ddim_images(folder: Path, unet: torch.nn.Module, steps: int, eta: float) -> list[Tensor]:
    """diffusers' own loop: x after every step."""
    from diffusers import DDIMScheduler  # noqa: PLC0415

    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    exact = copy.deepcopy(unet).double()
    noise = fields(steps + 1)
    x, images = noise[0], []
    for i, t in enumerate(scheduler.timesteps):
        x = scheduler.step(exact(x, t).sample, t, x, eta=eta, variance_noise=noise[i + 1] if eta else None).prev_sample
        images.append(x)
    return images


@torch.no_grad()
def rddm_images(folder: Path, steps: int, eta: float, **changes: object) -> list[Tensor]:
    checkpoint = convert_ddim(folder, "ddim", "test")
    network, spec = build(checkpoint).double(), checkpoint.spec.model_copy(update={"eta": eta, **changes})
    schedule, noise, x_in = (
        make_schedule(spec.schedule, spec.timesteps),
        fields(steps + 1),
        torch.zeros(BATCH, 3, SIDE, SIDE).double(),
    )

    def answer(question: Question) -> Prediction:
        outputs = network(question.x_t, None, torch.tensor([question.time] * BATCH))
        return predict(spec, schedule, outputs, question.x_t, x_in, question.t)

    return list(trace(sample(spec, schedule, x_in, lambda k: noise[k], steps), answer))[1:]


def largest_difference(a: list[Tensor], b: list[Tensor]) -> float:
    """max|a - b| / (1 + max|b|) over all steps: without clipping a random network's images reach +-50."""
    return max(float((x - y).abs().max() / (1 + y.abs().max())) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("steps", [5, 10, 33])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_converted_model_makes_ddims_images(tmp_path: Path, unet: torch.nn.Module, steps: int, clip: bool, eta: float) -> None:
    folder = saved(tmp_path, unet, clip_sample=clip)
    assert largest_difference(rddm_images(folder, steps, eta), ddim_images(folder, unet, steps, eta)) < 1e-9


@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "squaredcos_cap_v2"])
def test_any_beta_schedule_converts(tmp_path: Path, unet: torch.nn.Module, beta_schedule: str) -> None:
    folder = saved(tmp_path, unet, clip_sample=False, beta_schedule=beta_schedule)
    assert largest_difference(rddm_images(folder, 5, 0.0), ddim_images(folder, unet, 5, 0.0)) < 1e-9


def test_subtracting_update_equals_ddim_only_without_clipping(tmp_path: Path, unet: torch.nn.Module) -> None:
    plain = saved(tmp_path / "plain", unet, clip_sample=False)
    clipped = saved(tmp_path / "clipped", unet, clip_sample=True)
    assert largest_difference(rddm_images(plain, 10, 0.0, update="noise"), ddim_images(plain, unet, 10, 0.0)) < 1e-9
    assert largest_difference(rddm_images(clipped, 10, 0.0, update="noise"), ddim_images(clipped, unet, 10, 0.0)) > 1e-2


def test_coefficients_convert_both_ways() -> None:
    from diffusers import DDIMScheduler  # noqa: PLC0415

    named = NamedSchedule(alpha=Curve(name="ddim_linear"), beta2=Curve(name="ddim_linear"))
    schedule = make_schedule(named, 1000)
    level = DDIMScheduler().alphas_cumprod.numpy()
    alpha_bar, beta_bar = from_alphas_cumprod(level)
    np.testing.assert_allclose(schedule.alpha_bar, alpha_bar, atol=1e-7)
    np.testing.assert_allclose(schedule.beta_bar, beta_bar, atol=1e-7)
    np.testing.assert_allclose(to_alphas_cumprod(schedule), level, atol=1e-6)


def test_scheduler_of_a_converted_schedule_has_its_levels() -> None:
    from diffusers import DDIMScheduler  # noqa: PLC0415

    named = NamedSchedule(alpha=Curve(name="ddim_linear"), beta2=Curve(name="ddim_linear"))
    spec = ModelSpec(name="a", task="generate", licence="x", start="noise", condition=(), image_size=(16, 16), schedule=named)
    scheduler = to_scheduler(spec, make_schedule(named, 1000))
    np.testing.assert_allclose(scheduler.alphas_cumprod, DDIMScheduler().alphas_cumprod, atol=1e-5)


def test_restoration_schedule_is_no_ddims() -> None:
    with pytest.raises(ValueError, match="away from 1"):
        to_alphas_cumprod(make_schedule(NamedSchedule(), 1000))


def test_import_writes_a_checkpoint_that_loads(tmp_path: Path, unet: torch.nn.Module) -> None:
    folder = saved(tmp_path / "ddim", unet)
    assert main([str(folder), "-o", str(tmp_path / "out"), "--name", "mine"]) == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.spec.name == "mine"
    x, t = torch.randn(1, 3, SIDE, SIDE), torch.tensor([[500.0, 500.0]])
    with torch.no_grad():
        torch.testing.assert_close(build(checkpoint)(x, None, t)[0], unet(x, 500).sample)


@pytest.mark.parametrize(
    "setting",
    [{"prediction_type": "v_prediction"}, {"set_alpha_to_one": False}, {"steps_offset": 1}, {"timestep_spacing": "trailing"}],
)
def test_setting_without_an_equal_is_refused_by_name(
    tmp_path: Path, unet: torch.nn.Module, setting: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path, unet, **setting)
    assert main([str(folder), "-o", str(tmp_path / "out")]) == 2
    assert next(iter(setting)) in capsys.readouterr().err


def test_folder_without_a_unet_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "(no unet/config.json) nor a model's (no VERSION/model.onnx)" in capsys.readouterr().err
