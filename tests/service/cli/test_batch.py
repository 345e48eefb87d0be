"""rddm batch: a folder, a manifest, refusals; killed and resumed as its users would see it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.cli.batch import batch
from service.cli.restore import restore
from tests.models import release_tiny
from tests.service.bulk.conftest import png
from tests.service.video.clips import Recipe, write_clip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    release_tiny(folder)
    return folder


@pytest.fixture(autouse=True)
def repository(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RDDM_MODEL_REPOSITORY", str(models))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}.png").write_bytes(png(number))
    (folder / "notes.txt").write_text("hello")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_a_folder_and_again(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(pictures), str(tmp_path / "out"), "--summary", str(tmp_path / "summary.json")]
    assert batch(argv) == 0
    assert "40 restored, 1 no pictures" in capsys.readouterr().out
    assert batch(argv) == 0
    assert "0 restored, 40 restored before, 1 no pictures" in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["kept"] == 40
    assert len(contents(tmp_path / "out")) == 40


def test_a_manifest(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys.jsonl").write_text('{"key": "03.png"}\n{"key": "gone.png"}\n')
    assert batch([str(tmp_path / "keys.jsonl"), str(tmp_path / "out"), "--root", str(pictures)]) == 1
    captured = capsys.readouterr()
    assert "1 restored, 1 failed" in captured.out
    assert "gone.png" in captured.err
    assert list(contents(tmp_path / "out")) == ["03.png"]
    again = [str(tmp_path / "keys.jsonl"), str(tmp_path / "out"), "--root", str(pictures), "--retry-failed"]
    assert batch(again) == 1
    assert batch([*again, "--accept-failures"]) == 0


def test_results_within_the_source_are_no_pictures_to_restore(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert batch([str(pictures), str(pictures / "out")]) == 0
    assert "0 restored, 40 restored before, 1 no pictures" in capsys.readouterr().out


def test_a_dry_run_counts(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch([str(pictures), str(tmp_path / "out"), "--dry-run"]) == 0
    assert "41 of 41 objects would be read" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere", "out"], "nowhere is no folder"),
        (["in", "in"], "is the source itself"),
        (["in", "out", "--root", "x"], "goes with a manifest"),
        (["in", "out", "--steps", "0"], "steps"),
        (["", "out"], "'' is no path"),
        (["in", ""], "'' is no path"),
        (["in", "out", "--actors", "2"], "--actors 2 goes with --ray"),
        (["in", "out", "--actor-gpus", "1"], "--actor-gpus 1 goes with --ray"),
        (["in", "out", "--ray", "--actors", "0"], "--actors 0; expected at least 1"),
        (["in", "out", "--ray", "--actor-gpus", "nan"], "--actor-gpus nan; expected 0 or more"),
        (["in", "out", "--summary", "none/x.json"], "--summary none/x.json cannot be written; expected a file in a folder"),
        (["in", "out", "--summary", "in"], "--summary in cannot be written"),
    ],
)
def test_refusals_name_the_value(
    options: list[str], words: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert batch(options) == 2
    assert words in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_model_that_needs_a_mask_is_refused_before_any_picture(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RDDM_MODEL_REPOSITORY")
    assert batch([str(pictures), str(tmp_path / "out"), "--task", "clean,inpaint"]) == 2
    assert (
        capsys.readouterr().err == "rddm: model inpaint needs a mask; expected a call of `rddm restore --mask` for each picture\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shard", ["3/3", "1", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        batch(["in", "out", f"--shard={shard}"])
    assert "expected I/N" in capsys.readouterr().err


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    assert batch([str(pictures), str(tmp_path / "whole")]) == 0
    command = [sys.executable, "-m", "rddm", "batch", str(pictures), str(tmp_path / "out")]
    log = tmp_path / "out" / ".rddm" / "records-00000-of-00001.jsonl"
    for least in (1, 15):
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while killed.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < least):
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert batch([str(pictures), str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    final = [json.loads(line) for line in log.read_bytes().splitlines() if line.endswith(b"}")]
    assert len({record["key"] for record in final}) == 41
    assert len(final) <= 41 + 2 * 4  # what was in flight at each kill
    shutil.rmtree(tmp_path / "out")


def test_a_clip_among_pictures_is_what_rddm_restore_makes_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    clip = write_clip(folder / "walk.mp4", Recipe(times=range(0, 5 * 3750, 3750)))
    argv = [str(folder), str(tmp_path / "out")]
    assert batch(argv) == 0
    assert "2 restored" in capsys.readouterr().out
    assert restore([str(clip), "-o", str(tmp_path / "alone.mp4"), "--task", "tiny"]) == 0
    assert (tmp_path / "out" / "walk.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()
    assert batch(argv) == 0
    assert "0 restored, 2 restored before" in capsys.readouterr().out


def test_a_log_gets_a_line_now_and_then_instead_of_a_bar(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cli.batch.LINE_AFTER_SECONDS", 0.0)
    assert batch([str(pictures), str(tmp_path / "out")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "megapixels/s" in line]
    assert lines[-1].startswith("rddm: 41 of 41, ")
    assert lines[-1].endswith(", 0 failed")
