"""Quality against time: every graph, arithmetic and number of steps gets its row, measured on what it restored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.tradeoff import fastest, main
from rddm.spec import ModelSpec
from tests.models import release_traced
from training.evaluation.metrics import psnr
from training.networks import SmallConfig, make_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that changes nothing, of a task without a synthesis."""
    config = SmallConfig(widths=(8, 8), depths=(0, 1), time_width=8)
    spec = ModelSpec(name="tiny", task="sharpen", licence="CC0-1.0", size_multiple=4, default_steps=1, max_steps=2)
    torch.manual_seed(0)
    return release_traced(make_network(config).eval(), spec, tmp_path / "models").path


def picture(path: Path, seed: int) -> np.ndarray:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def run(model: Path, *more: str) -> int:
    folder = model.parent.parent
    pairs = ["--target", str(folder / "target"), "--given", str(folder / "given")]
    return main([str(model), *pairs, "--rounds", "2", "-o", str(folder / "out" / "report"), *more])


def test_rows_are_measured_and_drawn(model: Path, tmp_path: Path) -> None:
    target, given = picture(tmp_path / "target" / "a.png", 0), picture(tmp_path / "given" / "a.png", 1)
    assert run(model, "--steps", "1", "2", "3") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(row["model"], row["steps"]) for row in report["rows"]] == [("tiny fp32", 1), ("tiny fp32", 2)]
    assert report["rows"][0]["psnr"] == pytest.approx(psnr(given, target), abs=0.05)
    assert all(row["ms_per_megapixel"] > 0 for row in report["rows"])
    with Image.open(tmp_path / "out" / "report.png") as plot:
        assert plot.width > 500


def test_what_cannot_be_calibrated_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "target" / "a.png", 0), picture(tmp_path / "given" / "a.png", 1)
    assert run(model, "--kinds", "int8") == 2
    assert "no synthesis is known for task 'sharpen'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_fastest_round_counts_over_all_its_pictures() -> None:
    assert fastest([(0, 10.0, 1.0), (0, 30.0, 1.0), (1, 12.0, 1.0), (1, 12.0, 1.0)], 2) == 12
