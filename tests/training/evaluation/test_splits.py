"""Choosing and reporting are kept apart: no picture in both, no report without a reason, each noted."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from rddm.spec import ModelSpec
from training.checkpoint import Checkpoint, save_checkpoint
from training.evaluation.evaluate import main
from training.evaluation.splits import USES, chosen_set, load_splits
from training.evaluation.validation import read_choices
from training.networks import SmallConfig, make_network

ROOT = Path(__file__).parents[3]
TWO = """
[noise]
task = "clean"
note = "two folders"
[noise.choose]
"pairs" = ["a"]
[noise.report]
"pairs" = ["b"]
[kept]
task = ""
note = "pictures without a fault"
[kept.choose]
"plain" = ["c"]
"""


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A split file and its pictures: two pairs, one of them with a mask folder beside, and a picture without a fault."""
    ramp = Image.linear_gradient("L").resize((32, 24)).convert("RGB")
    parts = {"input": ramp, "target": ramp, "mask": ramp.point(lambda value: value // 128 * 255)}
    for part, picture in parts.items():
        (tmp_path / "data" / "pairs" / part).mkdir(parents=True)
        for name in ("a", "b"):
            picture.save(tmp_path / "data" / "pairs" / part / f"{name}.png")
    (tmp_path / "data" / "plain").mkdir()
    Image.new("RGB", (24, 24), (10, 20, 30)).save(tmp_path / "data" / "plain" / "c.jpg")
    (tmp_path / "splits.toml").write_text(TWO, encoding="utf-8")
    return tmp_path / "splits.toml"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that changes nothing."""
    torch.manual_seed(0)
    config = SmallConfig(widths=(8, 8), depths=(0, 1), time_width=8)
    spec = ModelSpec(name="tiny", task="clean", licence="CC0-1.0", size_multiple=4)
    save_checkpoint(tmp_path / "model", Checkpoint(spec, config, make_network(config).state_dict(), {}))
    return tmp_path / "model"


def evaluate(model: Path, splits: Path, *options: str) -> int:
    data = str(splits.parent / "data")
    return main([str(model), "--split", str(splits), "--data", data, "-o", str(splits.parent / "out"), *options])


def test_a_part_names_its_files(splits: Path) -> None:
    root = splits.parent / "data"
    [pair] = chosen_set(splits, "noise").groups("report", root)
    [plain] = chosen_set(splits, "kept").groups("choose", root)
    assert [str(path.relative_to(root)) for path in pair] == ["pairs/target/b.png", "pairs/input/b.png", "pairs/mask/b.png"]
    assert plain == (root / "plain" / "c.jpg",) * 2


def test_a_run_validates_on_what_may_choose_alone(splits: Path) -> None:
    assert [example.name for example in read_choices(splits, ["noise", "kept"], splits.parent / "data")] == ["a", "c"]


def test_choosing_is_not_noted_and_reporting_is_with_its_reason(splits: Path, model: Path) -> None:
    assert evaluate(model, splits, "--set", "noise") == 0
    assert not (splits.parent / USES).exists()
    assert evaluate(model, splits, "--set", "noise", "--part", "report", "--reason", "the card\nof version 1") == 0
    columns, row = (splits.parent / USES).read_text().splitlines()
    assert columns.startswith("date\tmodel\tset")
    assert row.split("\t")[1:5] == [str(model), "noise.report", "1", "the card of version 1"]
    mean = json.loads((splits.parent / "out" / "mean.json").read_text())["mean"]
    assert f"psnr_rgb {mean['psnr_rgb']:.3f}" in row


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--set", "noise", "--part", "report"), "--part report needs --reason"),
        (("--set", "snow"), "has no set 'snow'; expected one of ['kept', 'noise']"),
        ((), "--split needs --data, the folder that its paths begin in, and --set"),
    ],
)
def test_what_is_not_allowed_is_said(
    splits: Path, model: Path, options: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(model, splits, *options) == 2
    assert complaint in capsys.readouterr().err


def test_a_missing_picture_is_named(splits: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (splits.parent / "data" / "pairs" / "input" / "a.png").unlink()
    assert evaluate(model, splits, "--set", "noise") == 2
    assert "holds 0 files named 'a'; expected one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (TWO.replace('"pairs" = ["b"]', '"pairs" = ["a"]'), "has pairs/a in choose and in report"),
        (TWO.replace("note", "notes"), "is no list of splits"),
        ("[", "is no TOML"),
    ],
)
def test_splits_that_do_not_fit_are_refused(splits: Path, content: str, complaint: str) -> None:
    splits.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        load_splits(splits)


def test_the_projects_own_splits_are_sound() -> None:
    sets = load_splits(ROOT / "docs" / "models" / "splits.toml")
    assert {"lowlight", "rain", "denoise", "jpeg", "kept"} <= set(sets)
    assert all(pictures.choose or pictures.report for pictures in sets.values())
