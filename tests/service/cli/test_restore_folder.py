"""Folders as people keep them: other suffixes, none, links, files that are no pictures; and what results keep of their sources."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.cli import restore as restoring
from service.cli.restore import restore, usual_task
from service.cli.work import backends
from service.cli.work.files import sort_folder
from service.restoration.opening import open_service
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import apng
from tests.service.serving import FakeServingEngine
from tests.service.test_pictures import opened

BROKEN_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "open_service", lambda settings, **_: open_service(settings, FakeServingEngine()))
    monkeypatch.setattr(restoring, "usual_task", lambda _: None)  # the pictures are random: what auto does is asked below


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_are_recognised_by_their_content_and_the_rest_is_named(tmp_path: Path, capsys: Any) -> None:
    """The case of a.png, b.jfif and a HEIC file without its content, and more of its kind."""
    album = tmp_path / "album"
    (album / "deep").mkdir(parents=True)
    jpeg = file_of(pixels_of(8, 8), "JPEG")
    for name in ("b.jfif", "c.jpe", "d", "deep/e.JPG", "f.2024"):
        (album / name).write_bytes(jpeg)
    (album / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    (album / "g.png").write_bytes(jpeg)  # a JPEG that is called PNG
    (album / "broken.heic").write_bytes(BROKEN_HEIC)
    (album / "notes.txt").write_text("no picture")
    (album / "empty.jpg").write_bytes(b"")
    (album / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    (album / ".DS_Store").write_bytes(b"\0")
    (album / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "elsewhere").mkdir()
    (album / "linked").symlink_to(tmp_path / "elsewhere")
    (album / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert restore([str(album)]) == 1
    errors = capsys.readouterr().err
    restored = tmp_path / "album-restored"
    assert names(restored) == ["a.png", "b.jfif", "c.jpe", "d", "deep/e.JPG", "f.2024.jpg", "g.jpg"]
    assert {opened((restored / name).read_bytes()).format for name in names(restored)[1:]} == {"JPEG"}
    for name in ("broken.heic", "notes.txt", "empty.jpg", "clip.mov", "linked", "gone.jpg"):
        assert f"{album / name}" in errors, name
    assert ".DS_Store" not in errors
    assert "Thumbs.db" not in errors


def test_a_folder_of_pictures_alone_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.tiff").write_bytes(file_of(pixels_of(8, 8), "TIFF"))
    (tmp_path / "album" / ".hidden").write_bytes(b"x")
    (tmp_path / "album" / "b").symlink_to(tmp_path / "album" / "a.tiff")
    assert restore([str(tmp_path / "album")]) == 0
    assert names(tmp_path / "album-restored") == ["a.tiff", "b"]


def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    (tmp_path / "again").symlink_to(tmp_path)
    pictures, others = sort_folder(tmp_path)
    assert ([path.name for path in pictures], len(others)) == (["a.png"], 1)


@pytest.mark.parametrize(("name", "target"), [("photo", "photo-restored"), ("photo.heic.JPE", "photo.heic-restored.JPE")])
def test_one_file_of_another_suffix_keeps_it(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / name).write_bytes(file_of(pixels_of(8, 8), "JPEG"))
    assert restore([str(tmp_path / name)]) == 0
    assert opened((tmp_path / target).read_bytes()).format == "JPEG"


def test_one_file_whose_suffix_is_another_formats_gets_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(file_of(pixels_of(8, 8), "WEBP"))
    assert restore([str(tmp_path / "a.heic")]) == 0
    assert names(tmp_path) == ["a-restored.webp", "a.heic"]
    assert restore([str(tmp_path / "a.heic"), "--return", "residual"]) == 0
    assert opened((tmp_path / "a-restored.png").read_bytes()).format == "PNG"


def test_a_file_that_is_no_picture_is_named_with_status_1(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "words.png").write_text("words")
    assert restore([str(tmp_path / "words.png")]) == 1
    assert "words.png: a file of an unknown kind" in capsys.readouterr().err
    (tmp_path / "frames.png").write_bytes(apng())
    assert restore([str(tmp_path / "frames.png")]) == 1


def test_a_folder_without_a_picture_says_what_is_there(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "notes.txt").write_text("words")
    assert restore([str(tmp_path)]) == 2
    assert "notes.txt" in capsys.readouterr().err


def test_results_have_the_times_of_their_sources(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(file_of(pixels_of(8, 8)))
    os.utime(source, ns=(1_000_000_000_123_456_789, 981_173_106_123_456_789))
    assert restore([str(source), "-o", str(tmp_path / "b.webp")]) == 0
    assert (tmp_path / "b.webp").stat().st_mtime_ns == 981_173_106_123_456_789
    assert restore([str(tmp_path / "a.png"), "-o", f"{tmp_path}/out/"]) == 0
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == source.stat().st_mtime_ns


def test_quality_and_lossless_reach_the_file(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(file_of(pixels_of(64, 64)))
    sizes = {}
    for quality in (20, 90):
        assert restore([str(source), "-o", str(tmp_path / "b.jpg"), "--quality", str(quality)]) == 0
        sizes[quality] = (tmp_path / "b.jpg").stat().st_size
    assert sizes[20] < sizes[90]
    for option, chunk in (("--lossless", b"VP8L"), ("--no-lossless", b"VP8 ")):
        assert restore([str(source), "-o", str(tmp_path / "b.webp"), option]) == 0
        assert chunk in (tmp_path / "b.webp").read_bytes()[:64]
    assert restore([str(source), "-o", str(tmp_path / "c.jpg"), "--quality", "0"]) == 2


def test_strength_brightness_and_several_tasks_reach_the_picture(tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(file_of(pixels_of(24, 40)))
    assert restore([str(source), "-o", str(tmp_path / "b.png"), "--strength", "0"]) == 0
    assert np.array_equal(np.asarray(opened((tmp_path / "b.png").read_bytes())), pixels_of(24, 40))
    options = ["--task", "keeper,lowlight", "--brightness-mean", "0.5"]
    assert restore([str(source), "-o", str(tmp_path / "c.png"), *options]) == 0
    assert "keeper, lowlight, 4 steps" in capsys.readouterr().err
    assert np.asarray(opened((tmp_path / "c.png").read_bytes())).mean() / 255 == pytest.approx(0.5, abs=0.01)
    assert restore([str(source), "--brightness", "4"]) == 2
    assert restore([str(source), "--task", "keeper", "--brightness", "1"]) == 2


def test_without_a_task_it_looks_what_is_wrong(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "usual_task", usual_task)
    source = tmp_path / "white.png"
    source.write_bytes(file_of(np.full((90, 120, 3), 200, np.uint8)))
    assert restore([str(source)]) == 0
    assert (tmp_path / "white-restored.png").read_bytes() == source.read_bytes()
    assert "nothing is wrong: as it came" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--steps", "2"), ("--return", "steps"), ("--model-repository", "x"), ("--mask", "m.png")])
def test_what_is_for_one_model_is_done_by_the_default_model(words: tuple[str, str]) -> None:
    assert usual_task(restoring._restore_arguments().parse_args(["a.png", *words])) is None
    assert usual_task(restoring._restore_arguments().parse_args(["a.png", "--strength", "0.5"])) == "auto"
