"""A version is written whole, beside the earlier ones, or not at all."""

import os
import shutil
import time
from pathlib import Path

import pytest

from export.release import Release
from export.repository import described
from tests.models import release_tiny


def test_a_second_version_joins_the_first(written: Release, tmp_path: Path) -> None:
    second = release_tiny(tmp_path, seed=1)
    assert second.model.version == 2
    assert {version: model.digest for version, model in described(second.path).items()} == {
        1: written.model.digest,
        2: second.model.digest,
    }


@pytest.mark.parametrize(("copied", "gone"), [("7", None), ("7", "2"), ("notes", "2")])
def test_a_new_version_is_past_directories_and_configuration(
    written: Release, tmp_path: Path, copied: str, gone: str | None
) -> None:
    release_tiny(tmp_path, seed=1)
    shutil.copytree(written.path / "1", written.path / copied)
    if gone:
        shutil.rmtree(written.path / gone)
    assert release_tiny(tmp_path, seed=1).model.version == (8 if copied == "7" else 3)


def test_a_version_without_configuration_is_not_overwritten(written: Release, tmp_path: Path) -> None:
    shutil.copytree(written.path / "1", written.path / "2")
    with pytest.raises(FileExistsError, match="has a version 2 already"):
        release_tiny(tmp_path, seed=1, version=2)


def test_a_version_is_overwritten_only_when_asked(written: Release, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="has a version 1 already"):
        release_tiny(tmp_path, seed=1, version=1)
    again = release_tiny(tmp_path, seed=1, version=1, replace=True)
    assert described(again.path)[1].digest == again.model.digest != written.model.digest


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_the_repository_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    if exists:
        release_tiny(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        release_tiny(tmp_path, seed=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == (["tiny"] if exists else [])


def test_what_a_killed_export_left_is_swept(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("new", 60), ("only-copy", 7200)):
        staging = tmp_path / f".staging-{name}"
        (staging / ("replaced" if name == "only-copy" else "version")).mkdir(parents=True)
        os.utime(staging, (time.time() - age,) * 2)
    release_tiny(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".staging-new", ".staging-only-copy", "tiny"]


def test_a_rename_that_fails_brings_the_old_version_back(written: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Read-only"):
        release_tiny(tmp_path, seed=1, version=1, replace=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_everyone_may_read_what_was_written(written: Release) -> None:
    assert (written.path / "1").stat().st_mode & 0o777 == 0o755
    assert (written.path / "1" / "model.onnx").stat().st_mode & 0o777 == 0o644
