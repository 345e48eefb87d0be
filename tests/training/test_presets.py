"""Presets: the authors' settings by data set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.presets import PRESETS, describe, preset_named, spec_of, to_recipe

EXPECTED = {
    # objective, side, batch, sum_scale, steps of sampling, loss, optimiser, rate, iterations
    "celeba64": ("pred_res_noise", 64, 128, 1.0, 10, "l2", "radam", 2e-4, 100_000),
    "lol": ("pred_res", 256, 1, 1.0, 2, "l1", "adam", 8e-5, 80_000),
    "raindrop": ("pred_res_noise", 256, 1, 1.0, 5, "l1", "adam", 8e-5, 120_000),
    "istd": ("pred_res_noise", 256, 1, 0.01, 5, "l1", "adam", 8e-5, 80_000),
    "inpaint64": ("pred_res_noise", 64, 64, 1.0, 10, "l2", "radam", 2e-4, 100_000),
    "translate64": ("pred_res_noise", 64, 64, 1.0, 10, "l2", "radam", 2e-4, 100_000),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_settings_of_the_table(name: str) -> None:
    p = PRESETS[name]
    found = (p.objective, p.side, p.batch, p.sum_scale, p.sampling, p.loss, p.optimiser.name, p.optimiser.rate, p.steps)
    assert found == EXPECTED[name]


def test_all_nine_are_there_and_unknown_settings_are_marked() -> None:
    assert set(PRESETS) == {"celeba64", "celebahq256", "lol", "sid_rgb", "raindrop", "istd", "gopro", "inpaint64", "translate64"}
    assert "sum_scale 1.0?" in describe(PRESETS["gopro"])
    assert "?" not in describe(PRESETS["raindrop"])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_recipe(tmp_path: Path, name: str) -> None:
    preset = PRESETS[name]
    recipe = to_recipe(preset, {part: str(tmp_path) for part in preset.needs})
    assert recipe.spec == spec_of(preset)
    assert recipe.accumulate == 2


def test_missing_files_are_named() -> None:
    with pytest.raises(ValueError, match="preset istd needs --given, --mask"):
        to_recipe(PRESETS["istd"], {"target": "somewhere"})


def test_unknown_preset_raises_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'lool'; expected one of \['celeba64'"):
        preset_named("lool")


def test_generation_and_inpainting_take_pictures_alone(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((218, 178, 3), np.uint8)).save(tmp_path / "a.png")
    for name in ("celeba64", "inpaint64"):
        assert to_recipe(PRESETS[name], {"target": str(tmp_path)}).spec.condition == ()
    assert PRESETS["celeba64"].window == (57, 25, 128, 128)
