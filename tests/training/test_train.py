"""Training: it learns, it resumes exactly, it stops when asked, and what it leaves can be loaded."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError

from rddm.image import encode
from tests.training.runs import Dimmed
from training import checkpoint
from training import train as training_run
from training.checkpoint import load_checkpoint
from training.objective import LOSSES
from training.recipe import built_in_recipes, load_recipe
from training.synthesis.draws import Dice, Pairs
from training.train import chosen_recipe, main, overridden, parser
from training.trainer import MicroBatch, Trainer


def test_the_readmes_recipe_trains_on_a_folder_of_pairs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [recipe] = re.findall(r"```toml\n(.*?)```", (root / "training" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "denoise.toml").write_text(recipe)
    for part in ("input", "target"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        for name in "ab":
            (tmp_path / "pairs" / part / f"{name}.png").write_bytes(encode(np.full((130, 140, 3), 90, np.uint8)))
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("denoise.toml")).data.kind == "folder"
    assert main(["denoise.toml", "-o", "runs/denoise", "--steps", "1", "--batch", "1", "--device", "cpu"]) == 0
    assert load_checkpoint(Path("runs/denoise")).spec.task == "denoise"


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (Dimmed(), Dimmed()))
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
steps = 6
batch = 2
validate_every = 3
save_every = 4
[spec]
name = "tiny"
task = "tiny"
licence = "CC0-1.0"
size_multiple = 8
default_steps = 1
[network]
kind = "small"
widths = [8, 8]
depths = [1, 1]
time_width = 8
[data]
kind = "rain"
"""
    )
    return path


def test_the_command_leaves_checkpoint_log_and_curve(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert all(line["loss"] > 0 for line in lines)
    assert "synthetic_psnr" in lines[-1]
    assert load_checkpoint(out).facts["steps"] == 6
    assert (out / "curve.png").stat().st_size > 1000
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu", "--resume", "--steps", "8"]) == 0
    recorded = load_checkpoint(out).facts
    assert recorded["steps"] == 8
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu", "--resume", "--steps", "8"]) == 0
    assert load_checkpoint(out).facts == recorded
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [3, 6, 8]


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("steps", "-4", "greater than or equal to 1"),
        ("steps", "0", "greater than or equal to 1"),
        ("batch", "0", "greater than or equal to 1"),
        ("seed", "-3", "greater than or equal to 0"),
        ("minutes", "-1", "greater than 0"),
        ("minutes", "nan", "greater than 0"),
        ("threads", "0", "greater than 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", "cpu", f"--{option}", value]) == 2
    output = capsys.readouterr().out
    assert f"--{option} {value}: " in output
    assert allowed in output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def without(*_: object, **__: object) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system")

    if name == "cuda":
        monkeypatch.setattr(torch, "zeros", without)
    assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", name]) == 2
    assert f"rddm train: --device {name} cannot be used; expected cpu" in capsys.readouterr().out


def test_every_recipe_may_be_overridden() -> None:
    for name, path in built_in_recipes().items():
        recipe = load_recipe(path)
        assert overridden(recipe, parser().parse_args([name, "-o", "run", "--steps", "7"])) == recipe.model_copy(
            update={"steps": 7}
        )


def test_a_run_is_not_overwritten_by_another(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, run = tmp_path / "run", [str(recipe_file), "--device", "cpu", "-o"]
    assert main([*run, str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    for again in ([*run, str(out)], [*run, str(out), "--from", str(out)]):
        assert main(again) == 2
        assert f"{out} holds a run of 6 steps; --resume continues it" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main([*run, str(tmp_path / "other"), "--from", str(out), "--steps", "1"]) == 0
    assert load_checkpoint(tmp_path / "other").facts["steps"] == 1
    assert "was trained with another" not in capsys.readouterr().out
    other_noise = tmp_path / "other.toml"
    other_noise.write_text(recipe_file.read_text().replace("[spec]", '[spec]\nschedule = { kind = "named", sum_scale = 0.25 }'))
    assert main([str(other_noise), "--device", "cpu", "-o", str(tmp_path / "third"), "--from", str(out), "--steps", "1"]) == 0
    assert f"{out} was trained with another schedule, which" in capsys.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_stops_a_run_saves_it(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    def interrupted(trainer: Trainer, stream: Iterator[MicroBatch], *_: object) -> None:
        trainer.step(stream)
        signal.raise_signal(sent)

    monkeypatch.setattr(training_run, "train", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    try:
        assert main([str(recipe_file), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_checkpoint(tmp_path / "run").facts["steps"] == 1


def test_a_run_that_diverges_ends_with_the_weights_before(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Dimmed):
        drawn = 0

        def draw(self, batch: int, dice: Dice) -> Pairs:
            Broken.drawn += 1
            pairs = super().draw(batch, dice)
            return Pairs(pairs.target * float("nan"), pairs.given) if Broken.drawn == 3 else pairs  # two make a step

    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (Broken(), Dimmed()))
    out = tmp_path / "run"
    assert main([str(recipe_file), "-o", str(out), "--device", "cpu"]) == 1
    assert "step 2 has a loss of nan" in capsys.readouterr().out
    checkpoint = load_checkpoint(out)
    assert checkpoint.facts["steps"] == 1
    assert all(bool(torch.isfinite(weight).all()) for weight in checkpoint.weights.values())


def test_a_picture_that_breaks_a_run_leaves_what_was_trained(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Torn(Dimmed):
        left = 2  # make a step

        def draw(self, batch: int, dice: Dice) -> Pairs:
            if self.left == 0:
                raise ValueError("a.png cannot be read as a picture")
            self.left -= 1
            return super().draw(batch, dice)

    torn = Torn()
    monkeypatch.setattr(training_run, "make_sources", lambda data, cache, device: (torn, Dimmed()))
    run = [str(recipe_file), "--device", "cpu", "-o", str(tmp_path / "run")]
    assert main(run) == 3
    assert "a.png cannot be read as a picture; saved after 1 steps, continue with --resume" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run").facts["steps"] == 1
    assert main([*run[:-1], str(tmp_path / "other")]) == 3
    assert "a.png cannot be read as a picture; nothing was trained" in capsys.readouterr().out


def test_a_full_disk_ends_a_run_in_one_line(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert main([str(recipe_file), "--device", "cpu", "-o", str(tmp_path / "run")]) == 3
    output = capsys.readouterr().out
    assert "model.safetensors cannot be written: Error while serializing: I/O error: No space left" in output
    assert "its 4 steps could not be saved" in output
    assert not list((tmp_path / "run").glob("*.safetensors*"))


def test_an_output_that_is_a_file_is_refused(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recipe_file), "--device", "cpu", "-o", str(recipe_file)]) == 2
    assert f"{recipe_file} is a file; --output takes a folder" in capsys.readouterr().out


def test_photographs_go_into_a_pool_and_nowhere_else(tmp_path: Path) -> None:
    args = parser().parse_args(["derain", "-o", str(tmp_path), "--photographs", str(tmp_path)])
    assert overridden(chosen_recipe("derain"), args).data.photographs == tmp_path  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="data of kind 'emoji' has no pool of clean pictures"):
        overridden(chosen_recipe("emoji"), args)


@pytest.mark.parametrize("options", [["--val-sets", "noise"], ["--val-split", "splits.toml"]])
def test_sets_to_validate_on_need_their_file_and_folder(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["derain", "-o", str(tmp_path / "run"), *options]) == 2
    assert "belong together; expected all three" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("loss", "least"), [("psnr", -4.0), ("psnr_fine", -5.0)])
def test_the_psnr_losses_end_at_what_they_say(loss: str, least: float) -> None:
    same = torch.zeros(2, 3, 8, 8)
    assert float(LOSSES[loss](same, same)) == pytest.approx(least)
    assert float(LOSSES[loss](same, same + 0.2)) == pytest.approx(-2, abs=0.01)


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", "float32"), ("AVX512", "bfloat16")])
def test_bfloat16_is_left_to_processors_that_have_it(
    capability: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    recipe = load_recipe(built_in_recipes()["derain"])
    assert recipe.precision == "bfloat16"
    assert training_run.in_hardware(recipe, torch.device("cpu"), Console()).precision == expected
    assert ("AVX2" in capsys.readouterr().out) == (expected == "float32")
    assert training_run.in_hardware(recipe, torch.device("cuda"), Console()).precision == "bfloat16"
