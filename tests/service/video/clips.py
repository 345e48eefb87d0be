"""Clips that tests make, and what they say of the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from service.video.colour import Converter, layout_of
from service.video.facts import ClipBounds, ClipFacts, ColourTags
from service.video.process import ProcessLimits
from service.video.reader import ClipReader, Frame

BOUNDS = ClipBounds(max_pixels=4096 * 2304, max_side=4096, max_frames=1000, max_seconds=1000)
LIMITS = ProcessLimits(memory_bytes=2 << 30, file_bytes=1 << 30, seconds=60)


def scene(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A smooth moving picture in which every frame differs."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [100 + 60 * np.sin((x + 3 * number) / (9 + c)) * np.cos((y - 2 * number) / (7 + 2 * c)) for c in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@dataclass(frozen=True)
class Recipe:
    """A clip to write. times: of its frames, in ticks of time_base. picture: frame number, width, height -> its pixels."""

    width: int = 64
    height: int = 48
    times: Sequence[int] = range(0, 12 * 3750, 3750)
    time_base: Fraction = Fraction(1, 90000)
    rate: Fraction = Fraction(24)
    codec: str = "libx264"
    layout: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "12"})
    tags: ColourTags = field(default_factory=ColourTags)
    aspect: Fraction | None = None
    rotation: int = 0
    audio: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    interlaced: bool = False
    chapters: list[dict[str, Any]] = field(default_factory=list)
    picture: Callable[[int, int, int], NDArray[np.uint8]] = scene


def write_clip(path: Path, recipe: Recipe) -> Path:
    """The clip, at path."""
    movie = {} if path.suffix not in {".mp4", ".mov"} else {"movie_timescale": str(recipe.time_base.denominator)}
    with av.open(str(path), "w", format=recipe.container, container_options=movie | recipe.container_options) as file:
        stream = file.add_stream(recipe.codec, rate=recipe.rate, options=recipe.options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = recipe.width, recipe.height, recipe.layout
        stream.time_base = context.time_base = recipe.time_base
        context.colorspace, context.color_range = recipe.tags.matrix, recipe.tags.range
        context.color_trc, context.color_primaries = recipe.tags.transfer, recipe.tags.primaries
        if recipe.aspect is not None:
            context.sample_aspect_ratio = recipe.aspect
        if recipe.rotation:
            stream.set_display_rotation(recipe.rotation)
        sounds: list[Any] = [file.add_stream(codec, rate=48000) for codec in recipe.audio]
        for sound in sounds:
            sound.layout = "mono"
        file.metadata.update(recipe.metadata)
        if recipe.chapters:
            file.set_chapters(recipe.chapters)
        layout = layout_of(recipe.layout)
        converter = Converter(recipe.tags, recipe.height, layout, layout)
        for number, pts in enumerate(recipe.times):
            pixels = recipe.picture(number, recipe.width, recipe.height)
            frame = converter.to_frame(pixels if layout.depth == 8 else pixels.astype(np.uint16) * 257)
            frame.pts, frame.time_base = pts, recipe.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        for number, sound in enumerate(sounds):
            _hum(file, sound, 220.0 * (number + 1))
    return path


def _hum(file: Any, stream: Any, pitch: float) -> None:
    wave = (0.2 * np.sin(2 * np.pi * pitch * np.arange(24000) / 48000)).astype(np.float32)[None]
    format_ = stream.codec_context.codec.audio_formats[0].name
    frame = av.AudioFrame.from_ndarray(wave if format_ == "fltp" else (wave * 32767).astype(np.int16), format_, "mono")
    frame.sample_rate, frame.pts = 48000, 0
    file.mux(stream.encode(frame))
    file.mux(stream.encode())


def read_clip(path: Path) -> tuple[ClipFacts, list[Frame], tuple[str, ...]]:
    """Facts, frames, notes."""
    with ClipReader(path, BOUNDS) as reader:
        return reader.facts, list(reader.frames()), reader.notes


def seconds_of(facts: ClipFacts, frames: Sequence[Frame]) -> list[Fraction]:
    """When each frame is shown, after the first."""
    return [(frame.pts - frames[0].pts) * facts.time_base for frame in frames]


def packets_of(path: Path, kind: str) -> list[list[bytes]]:
    """The packets of every track of a kind."""
    with av.open(str(path)) as file:
        tracks = list(getattr(file.streams, kind))
        return [[bytes(packet) for packet in _demuxed(path, track.index) if packet.size] for track in tracks]


def _demuxed(path: Path, index: int) -> list[Any]:
    with av.open(str(path)) as file:
        return list(file.demux(file.streams[index]))


def luma_of(path: Path) -> list[NDArray[Any]]:
    """The stored luma of every frame."""
    with av.open(str(path)) as file:
        return [_luma(frame) for frame in file.decode(video=0)]


def _luma(frame: VideoFrame) -> NDArray[Any]:
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    plane = frame.planes[0]
    samples = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width]
    return samples.astype(np.float64)
