"""Frames -> segments of a clip, and segments, sound and subtitles of the source -> the finished clip. Runs in a worker process."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.codec import UnknownCodecError
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from rddm.image import Pixels
from service.errors import UnsupportedMedia
from service.video.colour import Converter, PixelLayout, Sampling, layout_of
from service.video.facts import MUXERS, ClipFacts, ClipOptions, EncoderKind
from service.video.reader import as_stored, open_clip

ENCODER_THREADS = 1  # a fixed number: x264's bytes depend on it
PLACES = ("location", "gps", "xyz", "geo")
OURS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")  # of the old file's layout
PLAIN = {
    "title",
    "artist",
    "album",
    "album_artist",
    "comment",
    "genre",
    "copyright",
    "description",
    "synopsis",
    "date",
    "composer",
    "creation_time",
}
LARGEST_TIMESCALE = 2**31 - 1
# What this FFmpeg writes of subtitles into a container; the others would be refused only after all the work.
SUBTITLES = {"mp4": {"mov_text"}, "mov": {"mov_text"}, "mkv": None}


def check_encoder(kind: EncoderKind) -> None:
    """Raises UnsupportedMedia where this build of FFmpeg lacks it."""
    try:
        av.Codec(kind.name, "w")
    except UnknownCodecError as missing:
        raise UnsupportedMedia(f"{kind.words} cannot be written: this FFmpeg was built without {kind.name}") from missing


def target_layout(source: PixelLayout, options: ClipOptions) -> PixelLayout:
    """The pixel format that loses least of the source's among those that the encoder takes. Raises UnsupportedMedia."""
    known = [format_.name for format_ in av.Codec(options.encoder.name, "w").video_formats or ()]
    if source.name in known and not source.name.startswith("yuvj"):
        return source
    for name in _wanted(source):
        if name in known:
            return layout_of(name)
    raise UnsupportedMedia(f"{options.encoder.words} cannot hold frames of {source.name}; expected another codec, such as ffv1")


def _wanted(source: PixelLayout) -> Iterator[str]:
    """Formats of at least the source's bits and chroma, the nearest first, then those of fewer."""
    richer: dict[Sampling, tuple[Sampling, ...]] = {
        "gray": ("gray", "420", "422", "444"),
        "420": ("420", "422", "444"),
        "422": ("422", "444", "420"),
        "444": ("444", "422", "420"),
        "rgb": ("rgb", "444", "422", "420"),
    }
    bits = [bits for bits in (8, 10, 12, 14, 16) if bits >= source.bits] + [bits for bits in (14, 12, 10, 8) if bits < source.bits]
    for depth in bits:
        for sampling in richer[source.sampling]:
            yield from _names(sampling, depth)


def _names(sampling: Sampling, bits: int) -> tuple[str, ...]:
    if sampling == "rgb":
        return ("gbrp", "bgr0", "rgb24") if bits == 8 else (f"gbrp{bits}le",)
    base = "gray" if sampling == "gray" else f"yuv{sampling}p"
    return (base,) if bits == 8 else (f"{base}{bits}le",)


class SegmentWriter:
    """Upright frames to one file of packets. Every segment begins with a key frame and needs no other.

    Nothing is reordered, so that packet k is frame k; `join` gets the times at which it is shown.
    """

    def __init__(self, path: Path, facts: ClipFacts, options: ClipOptions) -> None:
        source, target = layout_of(facts.layout), target_layout(layout_of(facts.layout), options)
        self._facts = facts
        self._converter = Converter(facts.tags, facts.height, source, target)
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._open_stream(facts, options, target)
        self._frames = self._packets = 0

    def _open_stream(self, facts: ClipFacts, options: ClipOptions, target: PixelLayout) -> VideoStream:
        stream = self._container.add_stream(options.encoder.name, rate=facts.rate, options=_settings(options, target))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = facts.width, facts.height, target.name
        stream.time_base = context.time_base = 1 / facts.rate
        context.thread_count = ENCODER_THREADS
        tags = facts.tags
        context.colorspace, context.color_range = tags.matrix if target.sampling != "rgb" else 0, tags.range
        context.color_trc, context.color_primaries = tags.transfer, tags.primaries
        if facts.aspect != 1:
            context.sample_aspect_ratio = facts.aspect
        return stream

    def write(self, pixels: Pixels) -> None:
        """The next frame."""
        frame = self._converter.to_frame(as_stored(pixels, self._facts.rotation))
        frame.pts, frame.time_base = self._frames, 1 / self._facts.rate
        self._frames += 1
        self._keep(self._stream.encode(frame))

    def close(self) -> None:
        """Raises RuntimeError where the encoder gave another number of packets than it was given frames."""
        self._keep(self._stream.encode())
        self._container.close()
        if self._packets != self._frames:
            raise RuntimeError(f"{self._frames} frames were encoded to {self._packets} packets")

    def _keep(self, packets: "Sequence[Packet[Any]]") -> None:
        for packet in packets:
            if packet.pts != packet.dts:
                raise RuntimeError("the encoder reordered frames")
            self._packets += 1
            self._container.mux(packet)


def _settings(options: ClipOptions, target: PixelLayout) -> dict[str, str]:
    """The encoder's own options."""
    kind = options.encoder
    settings = dict(kind.options)
    if options.codec == "ffv1":
        return settings
    quality = kind.default_quality if options.quality is None else options.quality
    settings["crf"] = str(quality)
    if options.codec == "h264":
        settings |= {"bf": "0"}
        if quality == 0 and target.bits == 8:
            settings = kind.options | {"bf": "0", "qp": "0"}
    if options.codec == "h265" and quality == 0:
        settings["x265-params"] += ":lossless=1"
    return settings


def check_streams(facts: ClipFacts, options: ClipOptions) -> None:
    """Raises UnsupportedMedia, in words, for what the wanted container cannot hold: before the work, not after it."""
    allowed = SUBTITLES[options.container]
    other = [codec for codec in facts.subtitles if allowed is not None and codec not in allowed]
    if other:
        raise UnsupportedMedia(f"{options.container} cannot hold the clip's {other[0]} subtitles; expected the container mkv")
    format_ = av.format.ContainerFormat(MUXERS[options.container], "w")
    for codec in facts.audio:
        if not _holds(format_, codec):
            raise UnsupportedMedia(f"{options.container} cannot hold the clip's {codec} sound; expected the container mkv")
    if options.codec == "ffv1" and facts.aspect != 1:
        raise UnsupportedMedia(
            f"FFV1 is written without a pixel's aspect, which is {facts.aspect} here; expected codec h264 with quality 0, "
            "which is lossless too"
        )


def _holds(format_: "av.format.ContainerFormat", codec: str) -> bool:
    return codec in HELD[format_.name.partition(",")[0]] if format_.name.partition(",")[0] in HELD else True


HELD = {
    "mp4": {
        "aac",
        "mp3",
        "mp3float",
        "ac3",
        "eac3",
        "alac",
        "opus",
        "libopus",
        "flac",
        "dca",
        "mp2",
        "vorbis",
        "truehd",
        "mp2float",
    },
    "mov": {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "mp2", "mp2float", "amrnb", "amrwb", "adpcm_ima_qt"}
    | {
        f"pcm_{kind}"
        for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "u8", "s8", "f32le", "f32be", "mulaw", "alaw")
    },
}


def join(
    segments: Sequence[Path], times: Sequence[tuple[int, int]], source: Path, target: Path, facts: ClipFacts, options: ClipOptions
) -> list[str]:
    """The finished clip: the segments' packets at `times` (pts, duration), with the source's sound, subtitles, chapters, metadata.

    What was left out, in words. The same input gives the same bytes.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        old = stack.enter_context(open_clip(source))
        first = stack.enter_context(av.open(str(segments[0])))
        new = stack.enter_context(_open_target(target, facts, options, metadata_is_plain=_kept(old.metadata).keys() <= PLAIN))
        picture = new.add_stream_from_template(first.streams.video[0], opaque=True)
        picture.time_base = facts.time_base
        picture.metadata.update(_kept(old.streams.video[0].metadata))
        if facts.rotation:
            picture.set_display_rotation(facts.rotation)
        copied = {one.index: new.add_stream_from_template(one, opaque=True) for one in (*old.streams.audio, *old.streams.subtitles)}
        for index, stream in copied.items():
            stream.metadata.update(_kept(old.streams[index].metadata))
            stream.time_base = old.streams[index].time_base
        new.metadata.update(_kept(old.metadata))
        new.set_chapters([{**chapter, "metadata": _kept(chapter["metadata"])} for chapter in old.chapters()])
        ours = _timed(segments, times, picture, facts.time_base)
        theirs = _copies(old, copied)
        for packet in heapq.merge(ours, theirs, key=_moment):
            new.mux_one(packet)
        if options.container == "mkv" and facts.time_base.denominator != 1000:
            notes.append("Matroska keeps times to the millisecond")
    return notes


def _open_target(target: Path, facts: ClipFacts, options: ClipOptions, *, metadata_is_plain: bool) -> OutputContainer:
    """metadata_is_plain: whether the names are among those that every MP4 has a place for."""
    settings = {"fflags": "+bitexact"}
    if options.container != "mkv":
        settings["movflags"] = "+faststart" if metadata_is_plain else "+faststart+use_metadata_tags"
        settings["movie_timescale"] = str(
            min(facts.time_base.denominator, LARGEST_TIMESCALE)
        )  # else a first frame later than 0 is moved
    return av.open(str(target), "w", format=MUXERS[options.container], container_options=settings)


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    """All but places and what the file's old layout was."""
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in OURS and not any(place in name.lower() for place in PLACES)
    }


def _timed(
    segments: Sequence[Path], times: Sequence[tuple[int, int]], stream: VideoStream, time_base: Fraction
) -> "Iterator[Packet[Any]]":
    remaining = iter(times)
    for segment in segments:
        with av.open(str(segment)) as file:
            for packet in file.demux(file.streams.video[0]):
                if packet.size:
                    pts, duration = next(remaining)
                    packet.stream, packet.time_base = stream, time_base
                    packet.pts = packet.dts = pts
                    packet.duration = duration
                    yield packet


def _copies(old: InputContainer, copied: Mapping[int, Stream]) -> "Iterator[Packet[Any]]":
    """Packets of the other tracks as they are; one without a time cannot be kept and has nothing in it."""
    if not copied:
        return
    for packet in old.demux([old.streams[index] for index in copied]):
        if packet.size and packet.dts is not None:
            packet.stream = copied[packet.stream_index]
            yield packet


def _moment(packet: "Packet[Any]") -> Fraction:
    return Fraction(packet.dts or 0) * packet.time_base
