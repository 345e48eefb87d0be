"""Clips that are odd but valid come through, or are refused in words; damaged ones leave nothing behind."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import Malformed, TooLarge, UnsupportedMedia
from service.video.facts import ClipBounds, ColourTags
from service.video.reader import ClipReader
from tests.service.video.clips import Recipe, packets_of, read_clip, scene, seconds_of, write_clip
from tests.service.video.fakes import IdentitySampler, in_kept_processes, restorer_of, through, work_on

TICK = 3750
X264 = {"crf": "12"}
# name -> file name, recipe, what of the result is to be looked at beside frames and times
ODD: dict[str, tuple[str, Recipe]] = {
    "variable rate": ("a.mp4", Recipe(times=[0, 3000, 3100, 9000, 20000, 20001, 45000])),
    "B frames": ("a.mp4", Recipe(options=X264 | {"bf": "3"})),
    "B frames in Matroska": ("a.mkv", Recipe(options=X264 | {"bf": "3"}, time_base=Fraction(1, 1000), times=range(0, 500, 42))),
    "starts late": ("a.mp4", Recipe(times=range(90000, 90000 + 6 * TICK, TICK))),
    "one frame": ("a.mp4", Recipe(times=[0])),
    "two frames": ("a.mp4", Recipe(times=[0, TICK])),
    "odd size 4:4:4": ("a.mp4", Recipe(width=65, height=49, layout="yuv444p")),
    "odd size 4:2:0": (
        "a.mkv",
        Recipe(width=65, height=49, codec="ffv1", options={}, time_base=Fraction(1, 1000), times=range(0, 300, 40)),
    ),
    "tiny": ("a.mp4", Recipe(width=16, height=16)),
    "one line high": (
        "a.mkv",
        Recipe(width=64, height=2, codec="ffv1", options={}, time_base=Fraction(1, 1000), times=range(0, 200, 40)),
    ),
    "no audio": ("a.mp4", Recipe()),
    "two audio tracks": ("a.mp4", Recipe(audio=["aac", "aac"])),
    "opus in Matroska": ("a.mkv", Recipe(audio=["libopus"], time_base=Fraction(1, 1000), times=range(0, 400, 42))),
    "10 bits": ("a.mp4", Recipe(layout="yuv420p10le")),
    "10 bits 4:2:2": ("a.mp4", Recipe(layout="yuv422p10le")),
    "full range": ("a.mp4", Recipe(tags=ColourTags(1, 2, 1, 1))),
    "bt2020": ("a.mp4", Recipe(tags=ColourTags(9, 1, 14, 9), layout="yuv420p10le")),
    "untagged": ("a.mp4", Recipe()),
    "grey": ("a.mp4", Recipe(layout="gray")),
    "RGB": ("a.mkv", Recipe(layout="bgr0", codec="ffv1", options={}, time_base=Fraction(1, 1000), times=range(0, 200, 40))),
    "rotated 90": ("a.mp4", Recipe(rotation=90)),
    "rotated 180": ("a.mp4", Recipe(rotation=180)),
    "rotated -90": ("a.mov", Recipe(rotation=-90)),
    "wide pixels": ("a.mp4", Recipe(aspect=Fraction(64, 45))),
    "HEVC": ("a.mp4", Recipe(codec="libx265", options={"x265-params": "log-level=none"})),
    "AV1": ("a.mp4", Recipe(codec="libsvtav1", options={"preset": "12"}, width=128, height=128)),
    "VP9 in WebM": (
        "a.webm",
        Recipe(codec="libvpx-vp9", options={"deadline": "realtime"}, time_base=Fraction(1, 1000), times=range(0, 400, 42)),
    ),
    "MJPEG in AVI": ("a.avi", Recipe(codec="mjpeg", layout="yuvj420p", options={}, time_base=Fraction(1, 24), times=range(6))),
    "MPEG-4 in AVI with B frames": ("a.avi", Recipe(codec="mpeg4", options={"bf": "2"}, time_base=Fraction(1, 24), times=range(8))),
    "MPEG-2 in a transport stream": (
        "a.ts",
        Recipe(codec="mpeg2video", options={}, time_base=Fraction(1, 25), rate=Fraction(25), times=range(8)),
    ),
    "H.264 in a transport stream": ("a.ts", Recipe()),
    "ProRes 4:2:2": ("a.mov", Recipe(codec="prores_ks", layout="yuv422p10le", options={})),
    "fragmented MP4": ("a.mp4", Recipe(container_options={"movflags": "frag_keyframe+empty_moov"})),
    "fast rate": ("a.mp4", Recipe(time_base=Fraction(1, 240), rate=Fraction(240), times=range(20))),
    "NTSC rate": ("a.mp4", Recipe(time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001), times=range(12))),
    "FLV": ("a.flv", Recipe(time_base=Fraction(1, 1000), times=range(0, 400, 42))),
}


def as_meant(tags: ColourTags) -> ColourTags:
    """H.264 leaves out that the range is the limited one, which is what its absence says."""
    return replace(tags, range=tags.range or 1)


@pytest.mark.parametrize("name", ODD)
@in_kept_processes
async def test_an_odd_clip_comes_through_with_its_frames_and_times(tmp_path: Path, name: str) -> None:
    file, recipe = ODD[name]
    source = write_clip(tmp_path / file, recipe)
    before, old, _ = read_clip(source)
    options: dict[str, Any] = {"codec": "ffv1", "container": "mkv"} if recipe.width % 2 and recipe.layout == "yuv420p" else {}
    result = await through(source, tmp_path / ("out.mkv" if options else "out.mp4"), **options)
    after, new, notes = read_clip(tmp_path / ("out.mkv" if options else "out.mp4"))
    assert result.frames == len(old) == len(new) == len(recipe.times)
    if options:  # Matroska's milliseconds
        assert all(abs(a - b) <= Fraction(1, 1000) for a, b in zip(seconds_of(after, new), seconds_of(before, old), strict=True))
    else:
        assert seconds_of(after, new) == seconds_of(before, old)
    assert (after.width, after.height, after.rotation, after.aspect) == (
        before.width,
        before.height,
        before.rotation,
        before.aspect,
    )
    assert as_meant(after.tags) == as_meant(before.tags)
    assert packets_of(tmp_path / ("out.mkv" if options else "out.mp4"), "audio") == packets_of(source, "audio")
    assert not notes
    for a, b in zip(old, new, strict=True):
        top = float(np.iinfo(a.pixels.dtype).max)
        assert np.abs(a.pixels / top - b.pixels / float(np.iinfo(b.pixels.dtype).max)).mean() < 0.02


@in_kept_processes
async def test_interlaced_frames_are_joined_and_the_notes_say_so(tmp_path: Path) -> None:
    recipe = Recipe(options={"crf": "12", "x264-params": "tff=1"}, height=64)
    source = write_clip(tmp_path / "in.mp4", recipe)
    result = await through(source, tmp_path / "out.mp4")
    facts, frames, _ = read_clip(tmp_path / "out.mp4")
    assert result.facts.interlaced
    assert any("interlaced" in note for note in result.notes)
    assert not facts.interlaced
    assert seconds_of(facts, frames) == [Fraction(k * TICK, 90000) for k in range(12)]


@in_kept_processes
async def test_a_clip_whose_end_is_missing_ends_there_and_the_notes_say_so(tmp_path: Path) -> None:
    recipe = Recipe(options={"crf": "12", "bf": "0", "g": "1"}, time_base=Fraction(1, 1000), times=range(0, 500, 42))
    source = write_clip(tmp_path / "whole.mkv", recipe)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(source.read_bytes()[: int(source.stat().st_size * 0.6)])
    result = await through(cut, tmp_path / "out.mp4")
    _, frames, _ = read_clip(tmp_path / "out.mp4")
    assert 3 < result.frames == len(frames) < 12


def cut_by_edit_lists(clip: Path, starts: Sequence[int], lasts: int) -> Path:
    """The clip, of whose tracks the first edit begins so many of their ticks later, and lasts so many of the movie's."""
    data, at = bytearray(clip.read_bytes()), 0
    for start in starts:
        at = data.index(b"elst", at) + 12  # behind version, flags and the number of edits
        (media_time,) = struct.unpack_from(">i", data, at + 4)
        struct.pack_into(">Ii", data, at, lasts, media_time + start)
    clip.write_bytes(data)
    return clip


def heard(path: Path) -> NDArray[np.floating]:
    """The sound that a player plays."""
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], 1)


def nearest_scene(pixels: NDArray[np.uint8]) -> int:
    """Which of the recipe's twelve frames this is."""
    return min(range(12), key=lambda k: float(np.abs(scene(k, 64, 48).astype(float) - pixels).mean()))


@pytest.mark.parametrize("b_frames", ["0", "3"])
@in_kept_processes
async def test_frames_and_sound_that_an_edit_list_cuts_off_do_not_come_back(tmp_path: Path, b_frames: str) -> None:
    recipe = Recipe(options=X264 | {"bf": b_frames}, audio=["aac"])
    source = cut_by_edit_lists(write_clip(tmp_path / "in.mp4", recipe), [3 * TICK, 3 * 48000 // 24], 6 * TICK)
    result = await through(source, tmp_path / "out.mp4")
    facts, frames, _ = read_clip(tmp_path / "out.mp4")
    assert [nearest_scene(frame.pixels) for frame in frames] == [3, 4, 5, 6, 7, 8]
    assert result.frames == 6
    assert seconds_of(facts, frames) == [Fraction(k * TICK, 90000) for k in range(6)]
    assert np.array_equal(heard(tmp_path / "out.mp4"), heard(source))
    assert heard(source).shape[1] / 48000 < 0.3  # of half a second


@in_kept_processes
async def test_subtitles_stay_where_the_container_holds_them(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe())
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,100 --> 00:00:00,400\nrain\n")
    both = tmp_path / "both.mkv"
    with av.open(str(source)) as clip, av.open(str(text)) as words, av.open(str(both), "w") as file:
        tracks = {
            0: file.add_stream_from_template(clip.streams.video[0]),
            1: file.add_stream_from_template(words.streams.subtitles[0]),
        }
        for number, one in enumerate((clip, words)):
            for packet in one.demux():
                if packet.size:
                    packet.stream = tracks[number]
                    file.mux(packet)
    await through(both, tmp_path / "out.mkv", container="mkv")
    assert packets_of(both, "subtitles") == packets_of(tmp_path / "out.mkv", "subtitles")
    with pytest.raises(UnsupportedMedia, match="mp4 cannot hold the clip's srt subtitles; expected the container mkv"):
        await through(both, tmp_path / "out.mp4")


def damaged(kind: str, path: Path) -> Path:
    """A file that is no clip, or one that was broken."""
    clip = write_clip(path.with_name("whole.mp4"), Recipe(options={"crf": "12", "bf": "0", "g": "1"})).read_bytes()
    parts = {
        "empty": b"",
        "text": b"this is no clip at all, but a long line of text " * 20,
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "an AVIF picture": b"\0\0\0\x20ftypavif" + bytes(500),
        "no index": clip[: len(clip) // 2],
        "a header only": clip[:40],
        "zeros after the header": clip[:40] + bytes(5000),
        "noise in the middle": None,
    }
    data = parts[kind]
    if data is None:
        at = clip.index(b"mdat") + 4
        noise = np.random.default_rng(0).integers(0, 256, 3000).astype(np.uint8).tobytes()
        data = clip[: at + 2500] + noise + clip[at + 5500 :]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "kind",
    ["empty", "text", "a picture", "an AVIF picture", "no index", "a header only", "zeros after the header", "noise in the middle"],
)
async def test_a_damaged_clip_is_refused_in_words_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    source = damaged(kind, tmp_path / "broken.mp4")
    with pytest.raises((Malformed, UnsupportedMedia)) as refused:
        await through(source, tmp_path / "out.mp4")
    assert len(refused.value.detail) > 20
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("transfer", "word"), [(16, "PQ"), (18, "HLG")])
async def test_high_dynamic_range_is_refused_in_words(tmp_path: Path, transfer: int, word: str) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(layout="yuv420p10le", tags=ColourTags(9, 1, transfer, 9)))
    with pytest.raises(UnsupportedMedia, match=word):
        await through(source, tmp_path / "out.mp4")


def test_limits_are_checked_before_a_frame_is_given_out(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe())
    for bounds, words in (
        (ClipBounds(1000, 4096, 100, 10), "1000 in all"),
        (ClipBounds(10**6, 32, 100, 10), "32 along a side"),
        (ClipBounds(10**6, 4096, 5, 10), "12 frames; at most 5"),
        (ClipBounds(10**6, 4096, 100, 0.2), "0.2 s"),
    ):
        with pytest.raises(TooLarge, match=words):
            ClipReader(source, bounds)


def test_frames_are_counted_where_the_header_does_not_tell(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", Recipe(time_base=Fraction(1, 1000), times=range(0, 500, 42)))
    with ClipReader(source, ClipBounds(10**6, 4096, 5, 10)) as reader, pytest.raises(TooLarge, match="more than 5 frames"):
        list(reader.frames())


@in_kept_processes
async def test_sound_that_mp4_cannot_hold_is_named_before_the_work(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", Recipe(audio=["pcm_s16le"], time_base=Fraction(1, 1000), times=range(0, 200, 42)))
    with pytest.raises(UnsupportedMedia, match="pcm_s16le sound; expected the container mkv"):
        await through(source, tmp_path / "out.mp4")
    await through(source, tmp_path / "out.mkv", container="mkv")
    assert packets_of(source, "audio") == packets_of(tmp_path / "out.mkv", "audio")


async def test_an_error_of_the_sampler_leaves_no_target_and_keeps_whole_segments(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(times=range(0, 80 * TICK, TICK)))
    work = work_on(source, tmp_path / "out.mp4")
    with pytest.raises(RuntimeError, match="broke"):
        await restorer_of(IdentitySampler(fails_at=75)).restore(work)  # some twenty frames are between reading and writing
    assert not work.target.exists()
    result = await restorer_of().restore(work)
    assert (result.resumed, result.frames) == (48, 80)
