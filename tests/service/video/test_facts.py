"""Kinds of clip files, what may be asked of a clip, and facts as JSON."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from service.errors import InvalidValue, UnsupportedMedia
from service.video.facts import ENCODERS, ClipFacts, ClipOptions, ColourTags, container_of, is_clip


@pytest.mark.parametrize(
    ("start", "container"),
    [
        (b"\0\0\0\x20ftypisom", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),
        (b"\x1a\x45\xdf\xa3....", "matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"FLV\x01\x05", "flv"),
        (b"OggS\0\x02", "ogg"),
        (b"\0\0\x01\xba\x44", "mpeg"),
        (b"nut/multimedia container\0", "nut"),
        (b"\x47" + b"\0" * 187 + b"\x47", "mpegts"),
        (b"\0\0\0\0\x47" + b"\0" * 191 + b"\x47", "mpegts"),
    ],
)
def test_a_clip_is_recognised_by_its_first_bytes(start: bytes, container: str) -> None:
    assert container_of(start) == container


@pytest.mark.parametrize("start", [b"", b"words", b"\0\0\0\x20ftypavif", b"RIFF\0\0\0\0WEBP", b"\x47" * 10])
def test_what_is_no_clip_is_refused_with_the_list(start: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="no clip that is read here; expected MP4, MOV, Matroska"):
        container_of(start)


def test_a_clip_is_recognised_by_its_name_too() -> None:
    assert is_clip(Path("a.MP4"))
    assert not is_clip(Path("a.png"))


def test_facts_are_the_same_after_json() -> None:
    facts = ClipFacts(
        *("mov", 640, 480, "h264", "yuv420p", ColourTags(1, 1, 1, 1), 90),
        *(Fraction(4, 3), Fraction(1, 12800), Fraction(30000, 1001), 30, 1.001, False),
        audio=("aac",),
        notes=("a note",),
    )
    assert ClipFacts.from_document(json.loads(json.dumps(facts.document()))) == facts


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("av1", None, "mov"), r"AV1 is not written into mov; expected one of \['mp4', 'mkv'\]"),
        (("ffv1", 3, "mkv"), "FFV1 is lossless and has none"),
        (("h264", 52, "mp4"), r"quality = 52; H.264 takes 0 \(best\) to 51 \(smallest\)"),
        (("av1", 0, "mp4"), r"quality = 0; AV1 takes 1"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(options: tuple, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        ClipOptions(*options)


@pytest.mark.parametrize("codec", ENCODERS)
def test_every_encoder_takes_its_own_defaults(codec: str) -> None:
    kind = ENCODERS[codec]  # type: ignore[index]
    assert ClipOptions(codec, None, kind.containers[0]).encoder is kind  # type: ignore[arg-type]
    assert kind.best_quality <= kind.default_quality <= kind.worst_quality
