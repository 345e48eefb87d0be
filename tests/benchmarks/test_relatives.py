"""The relatives' benchmark at toy size: photographs to a table, a plot and sentences; and what it shares and leaves out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.reproduce.__main__ import main
from benchmarks.reproduce.relatives import CALLS, NETWORK_OF, cut, interval, methods, with_calls
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import calls

FACTS = {"name": "a", "task": "b", "licence": "c", "image_size": (32, 32)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(9):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        (tmp_path / "photos").mkdir(exist_ok=True)
        coarse.resize((280, 210), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def test_a_run_writes_every_method_at_the_calls_that_it_has(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    size = ["--seeds", "2", "--steps", "2", "--batch", "2", "--widths", "8", "8", "--feature-steps", "2"]
    names = ["rddm", "resfusion", "drdd", "cold", "cold-naive"]
    assert main(["relatives", "--photos", str(photos), "--out", str(out), *size, "--damages", "rain", "--methods", *names]) == 0
    rows = json.loads((out / "relatives.json").read_text())["rows"]
    measured = {name: sorted({row["calls"] for row in rows if row["method"] == name}) for name in names}
    assert measured == {"rddm": [*CALLS], "resfusion": [1, 2, 5], "drdd": [2, 5, 10, 50], "cold": [*CALLS], "cold-naive": [*CALLS]}
    assert {row["seed"] for row in rows} == {10, 11}
    assert all(np.isfinite(list(row["figures"].values())).all() for row in rows)
    text = (out / "relatives.md").read_text()
    assert "± " in text
    assert "* **resfusion.** Resfusion: five steps" in text
    assert not (out / "runs" / "rain-cold-naive-10").exists()  # it shares the network of `cold`
    assert (out / "relatives.png").stat().st_size > 5000


def test_calls_are_shared_between_passes() -> None:
    for name in methods():
        for count in CALLS:
            spec = with_calls(relative_spec(name, **FACTS), count)
            assert spec is None or calls(spec, spec.default_steps) == count


def test_every_method_that_restores_is_measured_and_its_network_is_one_that_is_trained() -> None:
    assert set(methods()) | {"ddpm", "ddim", "weatherdiffusion"} == set(RELATIVES)
    assert {NETWORK_OF[name] for name in NETWORK_OF} <= {*RELATIVES, "generator"}


def test_windows_are_cut_from_photographs_of_any_size(photos: Path) -> None:
    windows = cut(photos)
    assert windows.shape == (54, 3, 96, 96)
    assert windows.dtype == torch.uint8
    with pytest.raises(FileNotFoundError, match="holds no photographs"):
        cut(photos / "nowhere")


def test_an_interval_of_equal_seeds_is_nothing() -> None:
    assert interval([2.0, 2.0, 2.0], 1) == "2.0 ± 0.0"
    assert interval([2.0], 1) == "2.0"
    assert interval([1.0, 2.0, 3.0], 2) == "2.00 ± 2.48"
