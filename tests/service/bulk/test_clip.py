"""Clips among pictures: found by what they are, restored to clips, with a record; ended runs go on in the midst of a clip."""

from pathlib import Path

import pytest

from service.bulk import clip
from service.bulk.clip import begins_as_clip, parameters_for
from service.errors import UnsupportedMedia
from service.restoration.parameters import RestoreParameters
from service.video.parameters import ClipParameters
from tests.service.bulk.conftest import FakeRestorer, png
from tests.service.bulk.test_runner import job, records, run

MP4, MATROSKA = b"\0\0\0\x18ftypisom" + bytes(20), b"\x1a\x45\xdf\xa3" + bytes(20)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A picture, two clips, one of them with the name of none, and a broken one."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    (folder / "walk.mp4").write_bytes(MP4)
    (folder / "walk.jpg").write_bytes(MATROSKA)
    (folder / "bad.mov").write_bytes(MP4 + b"broken")
    return folder


def scratch(target: Path) -> list[Path]:
    return list((target / ".rddm" / "clips").glob("*"))


async def test_clips_are_known_by_what_they_are_and_restored_to_clips(clips: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    summary = await run(clips, tmp_path / "out", restorer)
    assert (summary.restored, summary.failed, summary.frames) == (3, 1, 3)
    by_key = records(tmp_path / "out")
    assert (by_key["walk.mp4"].target, by_key["walk.jpg"].target) == ("walk.mp4", "walk.jpg.mp4")
    assert (by_key["walk.mp4"].frames, by_key["walk.mp4"].width, by_key["a.png"].frames) == (5, 16, None)
    assert by_key["bad.mov"].problem == "the clip is damaged"
    assert (tmp_path / "out" / "walk.mp4").read_bytes() == b"weights:motion:" + MP4
    assert not scratch(tmp_path / "out")


async def test_a_second_run_does_nothing_and_other_options_do_them_anew(clips: Path, tmp_path: Path) -> None:
    await run(clips, tmp_path / "out", FakeRestorer())
    again, other = FakeRestorer(), FakeRestorer()
    summary = await run(clips, tmp_path / "out", again)
    assert (summary.kept, summary.failed_before, sum(again.calls.values())) == (3, 1, 0)
    await run(clips, tmp_path / "out", other, job(clips=ClipParameters(steady="off")))
    assert (tmp_path / "out" / "walk.mp4").read_bytes() == b"weights:off:" + MP4


async def test_a_run_that_is_ended_goes_on_in_the_midst_of_its_clip(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "long.mp4").write_bytes(MP4 + b"slow")
    ended, next_one = FakeRestorer(), FakeRestorer()
    ended.ends_at_clips = True
    with pytest.raises((RuntimeError, ExceptionGroup)):
        await run(source, tmp_path / "out", ended)
    assert len(scratch(tmp_path / "out")) == 1
    summary = await run(source, tmp_path / "out", next_one)
    assert (summary.restored, next_one.resumed) == (1, 1)
    assert not scratch(tmp_path / "out")


async def test_without_the_extra_clips_have_records_that_say_so(
    clips: Path, tmp_path: Path, restorer: FakeRestorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise UnsupportedMedia("the extra `video` is not installed")

    with monkeypatch.context() as without:
        without.setattr(clip, "check_installed", missing)
        summary = await run(clips, tmp_path / "out", restorer)
    assert (summary.restored, summary.failed) == (1, 3)
    record = records(tmp_path / "out")["walk.mp4"]
    assert (record.status, record.problem) == ("failed", "the extra `video` is not installed")
    assert (await run(clips, tmp_path / "out", restorer, job(retry_failed=True))).restored == 2


async def test_what_only_pictures_can_be_asked_for_fails_clips(clips: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    summary = await run(clips, tmp_path / "out", restorer, job(parameters=RestoreParameters(quality="best")))
    assert (summary.restored, summary.failed) == (1, 3)
    assert records(tmp_path / "out")["walk.mp4"].problem == "quality=best (ensemble) is for pictures, and this is a clip"


def test_what_is_asked_of_pictures_is_asked_of_clips() -> None:
    asked = parameters_for(RestoreParameters(task="auto", seed=3, strength=0.5, brightness=1.0), ClipParameters(steady="off"))
    assert asked == ClipParameters(task="auto", seed=3, strength=0.5, brightness=1.0, steady="off")


@pytest.mark.parametrize(("start", "expected"), [(MP4, True), (MATROSKA, True), (png(0), False), (b"", False), (b"text", False)])
def test_what_is_a_clip(start: bytes, expected: bool) -> None:
    assert begins_as_clip(start) is expected
