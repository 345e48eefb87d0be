"""The relatives' benchmark at toy size: photographs to a table, a plot and sentences; and what it shares and leaves out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.reproduce.__main__ import main
from benchmarks.reproduce.claims import CLAIMS, Claim, Row, sentence, verdict
from benchmarks.reproduce.relatives import CALLS, GENERATORS, HEAVY, TRAINED_AS, HeavyRain, cut, methods, with_calls
from benchmarks.reproduce.tables import interval
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import calls
from training.synthesis.draws import Dice

FACTS = {"name": "a", "task": "b", "licence": "c", "image_size": (32, 32)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(9):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        (tmp_path / "photos").mkdir(exist_ok=True)
        coarse.resize((280, 210), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def test_a_run_writes_every_method_at_the_calls_that_it_has(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"POOL": 256, "HELD_OUT": 4, "HEAVY": HEAVY[:16]}.items():
        monkeypatch.setattr(f"benchmarks.reproduce.relatives.{name}", size)
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
    assert "* **Resfusion: five steps compete with RDDM.** resfusion at 5 calls less rddm at 5 calls, dB PSNR: rain " in text
    trained = torch.load(out / "runs" / "rain-10" / "state.pt", weights_only=True)["networks"]
    assert {name.split(".")[0] for name in trained} == {"rddm", "resfusion", "drdd", "cold"}  # `cold-naive` is trained as `cold`
    assert (out / "relatives.png").stat().st_size > 5000
    (out / "runs" / "rain-10" / "state.pt").unlink()  # what was measured is not measured again
    assert main(["relatives", "--photos", str(photos), "--out", str(out), *size, "--damages", "rain", "--methods", *names]) == 0
    assert (out / "relatives.md").read_text() == text


def test_calls_are_shared_between_passes() -> None:
    for name in methods():
        for count in CALLS:
            spec = with_calls(relative_spec(name, **FACTS), count)
            assert spec is None or calls(spec, spec.default_steps) == count


def test_every_method_that_restores_is_measured_and_its_network_is_one_that_is_trained() -> None:
    assert set(methods()) | GENERATORS == set(RELATIVES)
    assert set(TRAINED_AS.values()) <= set(methods())
    assert {name for claim in CLAIMS for name, _ in (claim.first, claim.second)} <= {*methods(), "input"}


@pytest.mark.parametrize(
    ("expected", "values", "decision"),
    [
        ("not lower", [1.0, 1.1, 0.9], "holds"),
        ("not lower", [-1.0, -1.1, -0.9], "does not hold"),
        ("not lower", [-0.1, 0.1, 0.05], "no difference seen"),
        ("higher", [1.0, 1.1, 0.9], "holds"),
        ("higher", [-1.0, -1.1, -0.9], "does not hold"),
        ("higher", [1.0, -1.0, 0.5], "open"),
        ("higher", [1.0], "open"),
        ("lower", [-1.0, -1.1, -0.9], "holds"),
        ("equal", [1.0, -1.0, 0.5], "no difference seen"),
        ("equal", [1.0, 1.1, 0.9], "does not hold"),
    ],
)
def test_a_claim_is_decided_only_where_the_interval_leaves_zero_out(expected: str, values: list[float], decision: str) -> None:
    claim = Claim("a", ("x", 1), ("y", 2), expected)  # type: ignore[arg-type]
    assert verdict(claim, values) == decision


def test_a_claim_compares_seed_by_seed() -> None:
    rows = [Row("rain", name, 1, seed, {"psnr": seed + extra}) for name, extra in (("x", 1.0), ("y", 0.0)) for seed in (10, 30)]
    claim = Claim("It is better.", ("x", 1), ("y", 1), "higher")
    assert (
        sentence(claim, rows, ["rain"]) == "* **It is better.** x at 1 call less y at 1 call, dB PSNR: rain +1.00 ± 0.00 (holds)."
    )
    assert sentence(claim, [], ["rain"]) == ""


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


def test_no_picture_in_heavy_rain_is_dry() -> None:
    scenes, maps = (torch.full((2, channels, 48, 48), level, dtype=torch.uint8) for channels, level in ((3, 50), (1, 100)))
    pairs = HeavyRain(scenes, maps, 32).draw(4, Dice(torch.Generator().manual_seed(1)))
    added = (pairs.given - pairs.target) * 255 / 2
    assert pairs.target.shape == (4, 3, 32, 32)
    assert ((added >= 59) & (added <= 101)).all()
