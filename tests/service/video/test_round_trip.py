"""A clip that nothing restores comes back as it went: pixels, times, and what lies beside them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from service.video.colour import Converter, layout_of
from service.video.facts import ColourTags
from tests.service.video.clips import Recipe, luma_of, packets_of, read_clip, scene, seconds_of, write_clip
from tests.service.video.fakes import in_kept_processes, psnr, through, work_on

LAYOUTS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"]
MATRICES = {"bt601": 6, "bt709": 1, "bt2020": 9}


@pytest.mark.parametrize("range_", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_luma_survives_five_conversions_to_the_level(layout: str, matrix: str, range_: int) -> None:
    known = layout_of(layout)
    converter = Converter(ColourTags(MATRICES[matrix], range_, 1, 1), 360, known, known)
    pixels = scene(3, 160, 90)
    first = converter.to_frame(pixels if known.depth == 8 else pixels.astype(np.uint16) * 257)
    frame = first
    for _ in range(5):
        frame = converter.to_frame(converter.to_pixels(frame))
    planes = [
        [np.frombuffer(memoryview(plane), np.uint8 if known.bits == 8 else np.uint16) for plane in one.planes]
        for one in (first, frame)
    ]
    shifts = [float(np.mean(after.astype(float) - before)) for before, after in zip(*planes, strict=True)]
    assert psnr(planes[0][0], planes[1][0], 2**known.bits - 1) > 70
    assert abs(shifts[0]) < 0.01
    assert all(abs(shift) < 0.2 * 2 ** (known.bits - 8) for shift in shifts[1:])


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
@pytest.mark.parametrize(("matrix", "range_"), [(6, 1), (1, 1), (9, 1), (6, 2), (1, 2), (9, 2)])
@in_kept_processes
async def test_a_file_keeps_its_luma_and_its_tags(tmp_path: Path, layout: str, matrix: int, range_: int) -> None:
    tags = ColourTags(matrix, range_, transfer=1, primaries=9 if matrix == 9 else 1)
    source = write_clip(tmp_path / "in.mp4", Recipe(layout=layout, tags=tags, times=range(0, 4 * 3750, 3750)))
    await through(source, tmp_path / "out.mp4", quality=4)
    facts, frames, _ = read_clip(tmp_path / "out.mp4")
    assert facts.tags == tags
    assert layout_of(facts.layout).bits == layout_of(layout).bits
    before, after = luma_of(source), luma_of(tmp_path / "out.mp4")
    top = 2 ** layout_of(layout).bits - 1
    assert len(frames) == len(before) == len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert psnr(old, new, top) >= 50
        assert abs(float(np.mean(new - old))) < 0.2


@in_kept_processes
async def test_lossless_is_lossless(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(tags=ColourTags(1, 1, 1, 1), times=range(0, 3 * 3750, 3750)))
    for name, options in (("a.mkv", {"codec": "ffv1", "container": "mkv"}), ("b.mp4", {"quality": 0})):
        await through(source, tmp_path / name, **options)
        assert all(np.array_equal(a, b) for a, b in zip(luma_of(source), luma_of(tmp_path / name), strict=True))


@pytest.mark.parametrize(
    ("name", "options"),
    [("out.mp4", {}), ("out.mov", {"container": "mov"}), ("out.mp4", {"codec": "h265"}), ("out.mp4", {"codec": "av1"})],
)
@in_kept_processes
async def test_times_are_kept_to_the_tick(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    times = [3000, 6003, 7001, 19009, 20000, 23000, 23500, 90001]
    source = write_clip(tmp_path / "in.mp4", Recipe(times=times, options={"crf": "12", "bf": "2"}))
    await through(source, tmp_path / name, **options)
    facts, frames, _ = read_clip(tmp_path / name)
    assert [frame.pts * facts.time_base for frame in frames] == [Fraction(time, 90000) for time in times]


@in_kept_processes
async def test_sound_subtitles_chapters_and_metadata_are_kept_and_places_are_not(tmp_path: Path) -> None:
    chapters = [{"id": 1, "start": 0, "end": 250, "time_base": Fraction(1, 1000), "metadata": {"title": "first"}}]
    recipe = Recipe(
        audio=["aac", "aac"],
        metadata={"title": "A walk", "location": "+52.5+13.4/", "com.apple.quicktime.location.ISO6709": "x"},
        chapters=chapters,
    )
    source = write_clip(tmp_path / "in.mp4", recipe)
    await through(source, tmp_path / "out.mp4")
    assert packets_of(source, "audio") == packets_of(tmp_path / "out.mp4", "audio")
    assert len(packets_of(source, "audio")) == 2
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.metadata["title"] == "A walk"
        assert not any("location" in name.lower() for name in file.metadata)
        assert [chapter["metadata"]["title"] for chapter in file.chapters()] == ["first"]


@in_kept_processes
async def test_rotation_and_aspect_are_kept_and_the_model_sees_frames_upright(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(rotation=90, aspect=Fraction(4, 3)))
    await through(source, tmp_path / "out.mp4")
    facts, frames, _ = read_clip(tmp_path / "out.mp4")
    assert (facts.rotation, facts.aspect, facts.width, facts.height) == (90, Fraction(4, 3), 64, 48)
    assert frames[0].pixels.shape == (64, 48, 3)


@in_kept_processes
async def test_times_of_a_long_clip_follow_one_another(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(times=range(0, 110 * 3750, 3750), width=32, height=32))
    result = await through(source, tmp_path / "out.mp4")
    facts, frames, _ = read_clip(tmp_path / "out.mp4")
    assert (result.frames, result.segments, len(frames)) == (110, 3, 110)
    assert seconds_of(facts, frames) == [Fraction(k, 24) for k in range(110)]
    assert not work_on(source, tmp_path / "out.mp4").folder.exists()
