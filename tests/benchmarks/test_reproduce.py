"""The reproduction's pipeline, from files to tables: small everywhere; and with the authors' network on data as the sets come."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmarks.reproduce import __main__ as command
from benchmarks.reproduce import arms, features
from benchmarks.reproduce.arms import PARTS, SIZES, WAYS, Course, Together, recipe_of, spec_of, trained
from benchmarks.reproduce.sources import LAYOUTS, source_of
from benchmarks.reproduce.table1 import Result, asked
from benchmarks.reproduce.tables import gains, gains_text, questions_text, table1_text
from rddm.objective import HEADS
from training.checkpoint import FACTS, RESUME
from training.networks import make_network
from training.recipe import FolderData

DATA = FolderData(kind="folder", target="a", given="b")
TINY = replace(SIZES["small"], side=16, glyphs=16, widths=(8, 8), samples=16, courses={task: Course(2, 2) for task in arms.PRESET})


def data_set(root: Path, layout: int, names: tuple[str, str], size: tuple[int, int]) -> Path:
    """Three pairs of noise to train on and two to measure, for low light and rain, in one of the known layouts."""
    rng = np.random.default_rng(0)
    for task in ("lowlight", "rain"):
        for folder, name, count in zip(LAYOUTS[task][layout], names * 2, (3, 3, 2, 2), strict=True):
            (root / folder).mkdir(parents=True)
            for i in range(count):
                picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(picture).save(root / folder / f"{i}{name if task == 'rain' else ''}.png")
    return root


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Table 1 of two seeds on tiny data."""
    monkeypatch.setitem(SIZES, "small", TINY)
    monkeypatch.setattr(features, "STEPS", 2)
    data = data_set(tmp_path / "data", 0, ("", ""), (24, 32))
    arguments = ["--data", str(data), "--only", "table1", "--seeds", "2", "--out", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    return list(json.loads((tmp_path / "out" / "table1.json").read_text())["results"])


def test_every_way_is_measured_on_every_picture_and_seed(results: list[dict[str, object]], tmp_path: Path) -> None:
    rain = {(r["way"], r["seed"], r["picture"]) for r in results if r["task"] == "rain"}
    ways = {"input", *(way.name for way in WAYS)}
    assert rain == {(way, seed, picture) for way in ways for seed in (10, 11) for picture in ("0", "1")}
    generation = [r for r in results if r["task"] == "generation"]
    assert len(generation) == 2 * (1 + len(WAYS))
    text = (tmp_path / "out" / "table1.md").read_text()
    assert text.count("| rain | SM-Res-N | 5 |") == 1
    assert "4" in text.split("better")[1]


def test_networks_of_a_task_begin_alike_and_are_trained_on_the_same_pictures(tmp_path: Path) -> None:
    recipes = [
        recipe_of(spec_of("rain", PARTS[part], TINY, 16), TINY.network(PARTS[part], restores=True), DATA, TINY.courses["rain"], 10)
        for part in ("residual", "noise")
    ]
    differing = {key for key in type(recipes[0]).model_fields if getattr(recipes[0], key) != getattr(recipes[1], key)}
    assert differing == {"spec"}
    assert recipes[0].spec.model_copy(update={"objective": "pred_noise", "name": "rain-pred_noise"}) == recipes[1].spec


@pytest.mark.parametrize("way", [*WAYS, arms.ONE_NETWORK], ids=lambda way: way.name)
def test_networks_of_a_way_give_the_outputs_that_it_samples_with(way: arms.Way) -> None:
    spec = asked(way, "rain", TINY, 16)
    networks = [make_network(TINY.network(PARTS[part], restores=True)) for part in way.parts]
    outputs = Together(networks)(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), torch.zeros(1, 2))
    assert len(outputs) == len(HEADS[spec.objective])


def test_an_interrupted_run_goes_on_and_ends_as_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_set(tmp_path / "data", 0, ("", ""), (24, 32))
    source = source_of(data, "rain", TINY)
    spec, network = spec_of("rain", "pred_res", TINY, 16), TINY.network("pred_res", restores=True)
    recipe = recipe_of(spec, network, source.data, Course(4, 2), 10).model_copy(update={"save_every": 2})
    whole = trained(recipe, source.training, tmp_path / "whole", Console(quiet=True))

    def stop(self: arms.Trainer, *_: object) -> None:
        raise KeyboardInterrupt

    step = arms.Trainer.step
    monkeypatch.setattr(arms.Trainer, "step", lambda self, *rest: stop(self) if self.steps == 2 else step(self, *rest))
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, source.training, tmp_path / "cut", Console(quiet=True))
    monkeypatch.setattr(arms.Trainer, "step", step)
    again = trained(recipe, source.training, tmp_path / "cut", Console(quiet=True))
    for ours, theirs in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not (tmp_path / "cut" / RESUME).exists()


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    source = source_of(data_set(tmp_path / "data", 0, ("", ""), (24, 32)), "rain", TINY)
    spec, network = spec_of("rain", "pred_res", TINY, 16), TINY.network("pred_res", restores=True)
    for seed, complaint in ((10, None), (11, "holds a run of another recipe")):
        recipe = recipe_of(spec, network, source.data, Course(1, 2), seed)
        if complaint is None:
            trained(recipe, source.training, tmp_path / "run", Console(quiet=True))
        else:
            with pytest.raises(ValueError, match=complaint):
                trained(recipe, source.training, tmp_path / "run", Console(quiet=True))


def test_missing_data_names_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data for rain; expected one of .*RainDrop/train/gt"):
        source_of(tmp_path, "rain", TINY)


def test_gains_are_taken_picture_by_picture() -> None:
    actual = [
        Result("rain", way, 5, seed, picture, {"psnr": base + extra})
        for seed in (10, 11)
        for picture, base in (("a", 20.0), ("b", 30.0))
        for way, extra in (("SM-Res", 0.0), ("SM-Res-N", seed - 10.0))
    ]
    assert gains(actual, "rain", "SM-Res-N", "psnr") == [0.0, 0.0, 1.0, 1.0]
    assert "25.50 ± 6.35" in table1_text(actual)
    assert "| rain | SM-Res-N | PSNR, dB | 0.50 ± 6.35 | +0.00..+1.00 | 2 of 4 |" in gains_text(actual)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_papers_size_runs_on_data_as_the_sets_come(tmp_path: Path) -> None:
    """The authors' U-Net, optimisers, squares and protocol; RainDrop's and LOL's own folders; one step of each network."""
    data = data_set(tmp_path / "data", 1, ("_clean", "_rain"), (300, 280))
    arguments = ["--size", "paper", "--steps", "1", "--data", str(data), "--tasks", "lowlight", "rain", "--only", "table1"]
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "table1.json").read_text())["results"]
    assert {r["picture"] for r in results if r["task"] == "rain"} == {"0_rain", "1_rain"}
    assert all(0 < r["figures"]["psnr"] < 60 for r in results)
    recipe = json.loads((tmp_path / "out" / "runs" / "lowlight-residual-10" / arms.RECIPE).read_text())
    assert recipe["spec"]["preprocessing"] == ["equalize_histogram"]
    assert recipe["network"]["dim"] == 64
    assert json.loads((tmp_path / "out" / "runs" / "rain-noise-10" / FACTS).read_text())["steps"] == 1


def test_the_papers_courses_are_the_presets() -> None:
    courses = SIZES["paper"].courses
    assert {task: (course.steps, course.batch, course.optimiser.name) for task, course in courses.items()} == {
        "lowlight": (80_000, 1, "adam"),
        "rain": (120_000, 1, "adam"),
        "generation": (100_000, 128, "radam"),
    }


@pytest.mark.parametrize(("leads", "expected"), [((2.0, 1.0), "Yes"), ((-2.0, 1.0), "No"), ((0.0, 1.0), "Open")])
def test_the_reports_best_is_decided_by_intervals_over_seeds(leads: tuple[float, float], expected: str) -> None:
    figures = {"SM-Res-N": 20.0, "SM-Res": 20.0 - leads[0], "SM-N": 20.0 - leads[1]}
    apart = {"SM-Res-N": 0.1, "SM-Res": -0.1, "SM-N": 0.0}
    results = [
        Result("rain", way, 5, seed, "p", {"psnr": figure + apart[way] * seed})
        for way, figure in figures.items()
        for seed in (-1, 0, 1)
    ]
    assert f"**Is SM-Res-N best in rain, as the report has it? {expected} at this size:**" in questions_text(results)
    assert questions_text(results[:0]) == ""
