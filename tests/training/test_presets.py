"""Presets: the authors' settings by data set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training import presets
from training.checkpoint import load_checkpoint
from training.data.datasets import make_sources
from training.evaluation import validation
from training.presets import PRESETS, describe, network_of, preset_named, spec_of, to_recipe
from training.synthesis.draws import Dice
from training.train import main
from training.trainer import Trainer, drawn_batches

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
    actual = (p.objective, p.side, p.batch, p.sum_scale, p.sampling, p.loss, p.optimiser.name, p.optimiser.rate, p.steps)
    assert actual == EXPECTED[name]


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


LAYOUTS: dict[str, dict[str, tuple[str, str]]] = {
    # folder and file name of each part, as the data sets come
    "celeba64": {"target": ("img_align_celeba", "{:06d}.jpg")},
    "celebahq256": {"target": ("celeba_hq", "{:05d}.png")},
    "lol": {"target": ("our485/high", "{}.png"), "given": ("our485/low", "{}.png")},
    "sid_rgb": {"target": ("long", "{:05d}_00_10s.png"), "given": ("short", "{:05d}_00_0.1s.png")},
    "raindrop": {"target": ("train/gt", "{}_clean.png"), "given": ("train/data", "{}_rain.png")},
    "istd": {
        "target": ("train_C", "{}-1.png"),
        "given": ("train_A", "{}-1.png"),
        "mask": ("train_B", "{}-1.png"),
    },
    "gopro": {"target": ("train/sharp", "GOPR{:04d}.png"), "given": ("train/blur", "GOPR{:04d}.png")},
    "inpaint64": {"target": ("celeba_hq", "{:05d}.png")},
    "translate64": {"target": ("cat", "cat_{:03d}.png"), "given": ("dog", "dog_{:03d}.png")},
}


def data_set(root: Path, name: str, size: tuple[int, int] = (218, 178)) -> dict[str, str]:
    """Three small pictures of noise for each part, in the data set's layout: folders by part."""
    rng, folders = np.random.default_rng(0), {}
    for part, (folder, file) in LAYOUTS[name].items():
        (root / folder).mkdir(parents=True)
        for number in range(1, 4):
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / folder / file.format(number))
        folders[part] = str(root / folder)
    return folders


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_its_data_sets_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The command itself, from files to figures, with a small U-Net on small squares; the slow test has the authors'."""
    monkeypatch.setattr(presets, "network_of", lambda preset: network_of(preset, 8, (1, 2)))
    monkeypatch.setattr(validation, "PICTURES", 2)
    monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], side=32))
    files = [f"--{part}={folder}" for part, folder in data_set(tmp_path / "data", name).items()]
    run = [name, *files, "-o", str(tmp_path / "run"), "--steps", "1", "--batch", "1", "--device", "cpu", "--sample-every", "1"]
    assert main(run) == 0
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.spec.name == name
    assert checkpoint.facts["steps"] == 1
    assert (tmp_path / "run" / "samples" / "0000001.png").is_file()
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert ("synthetic_psnr" in line) == (checkpoint.spec.start == "image")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_a_step_at_its_own_size(tmp_path: Path, name: str) -> None:
    recipe = to_recipe(PRESETS[name], data_set(tmp_path, name)).model_copy(update={"batch": 1})
    trainer, dice = Trainer(recipe, torch.device("cpu")), Dice(torch.Generator().manual_seed(0))
    before = next(trainer.network.parameters()).detach().clone()
    source, _ = make_sources(recipe.data, None, torch.device("cpu"))
    loss = trainer.step(drawn_batches(recipe, trainer.objective, source, dice))
    assert 0 < loss < 10
    assert float((next(trainer.network.parameters()) - before).abs().max()) > 0
