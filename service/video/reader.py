"""A clip's file -> facts, frames as pixels, packets to copy. Hostile bytes: runs in a worker process."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import av.filter
import av.logging
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rddm.image import Pixels
from service.errors import Malformed, ServiceError, TooLarge, UnsupportedMedia
from service.video.colour import Converter, PixelLayout, check_colours, layout_of
from service.video.facts import ClipBounds, ClipFacts, ColourTags, container_of

START_BYTES = 400
PROBED_FRAMES = 8  # looked at for interlacing before the first is given out
FIRST_RATE, LAST_RATE = Fraction(1, 1000), Fraction(1000)
USUAL_RATE = Fraction(25)
INTERLACED_ORDERS = {2, 3, 4, 5}  # AVFieldOrder
DEINTERLACED = "the clip is interlaced: its fields were joined to whole frames (bwdif)"


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: upright pixels h w 3, when it is shown, and for how long, in ticks of the clip's time base."""

    pixels: Pixels
    pts: int
    duration: int


def upright(stored: Pixels, rotation: int) -> Pixels:
    """Stored pixels as they are shown; rotation: degrees counterclockwise, of which quarter turns are done."""
    return np.ascontiguousarray(np.rot90(stored, round(rotation / 90) % 4)) if rotation % 90 == 0 else stored


def as_stored(shown: Pixels, rotation: int) -> Pixels:
    """The way back."""
    return upright(shown, -rotation)


@contextmanager
def translated() -> Iterator[None]:
    """Whatever FFmpeg raises for a damaged file, as Malformed."""
    try:
        yield
    except ServiceError:
        raise
    except (av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError) as missing:
        raise UnsupportedMedia("the clip's codec is not one that is read here") from missing
    except (MemoryError, av.error.MemoryError) as full:
        raise TooLarge("the clip needs more memory than a clip may") from full
    except (av.error.FFmpegError, ValueError, EOFError, UnicodeError, OverflowError, ZeroDivisionError) as broken:
        raise Malformed("the clip is damaged or cut short") from broken


def open_clip(path: Path) -> InputContainer:
    """The file, read by the one demuxer that its first bytes name. Raises UnsupportedMedia, and what FFmpeg raises."""
    with path.open("rb") as file:
        format_ = container_of(file.read(START_BYTES))
    allowed = {"format_whitelist": format_, "protocol_whitelist": "file"}
    return av.open(str(path), "r", format=format_, container_options=allowed, metadata_errors="replace")


def video_stream(container: InputContainer) -> VideoStream:
    """The clip's first moving picture. Raises UnsupportedMedia where there is none."""
    pictures = [stream for stream in container.streams.video if not stream.disposition & stream.disposition.attached_pic]
    if not pictures:
        raise UnsupportedMedia("the file holds no moving picture; expected a clip with a video track")
    return pictures[0]


class ClipReader:
    """One clip, opened: `facts`, then `frames` once. Use as a context manager."""

    def __init__(self, path: Path, bounds: ClipBounds) -> None:
        """Raises UnsupportedMedia, Malformed and TooLarge, all before a frame is given out."""
        with translated():
            self._container = open_clip(path)
        try:
            with translated():
                self._bounds = bounds
                self._stream = video_stream(self._container)
                self._notes: list[str] = []
                self._ended_early = False
                self._check_size()
                self._ahead = self._decoded()
                self._first = list(islice(self._ahead, PROBED_FRAMES))
                if not self._first:
                    raise Malformed("the clip holds no frame that can be read")
                self.facts = self._facts(self._first)
                check_colours(self.facts.tags)
                self._check_length()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    @property
    def layout(self) -> PixelLayout:
        """Of the stored frames."""
        return layout_of(self.facts.layout)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was met while the frames were read, in words; complete once they all are."""
        return tuple(dict.fromkeys(self._notes))

    def frames(self) -> Iterator[Frame]:
        """Every frame in the order in which it is shown. Raises Malformed and TooLarge."""
        layout = self.layout
        converter = Converter(self.facts.tags, self.facts.height, layout, layout)
        with translated():
            for frame, pts, duration in self._timed(self._filtered()):
                yield Frame(upright(converter.to_pixels(frame), self.facts.rotation), pts, duration)

    def _check_size(self) -> None:
        context, bounds = self._stream.codec_context, self._bounds
        if context.width < 1 or context.height < 1:
            return  # the first frame says it
        if max(context.width, context.height) > bounds.max_side or context.width * context.height > bounds.max_pixels:
            raise TooLarge(
                f"a frame is {context.width} x {context.height} pixels; at most {bounds.max_pixels} in all and "
                f"{bounds.max_side} along a side are allowed"
            )

    def _check_length(self) -> None:
        facts, bounds = self.facts, self._bounds
        if facts.frames > bounds.max_frames:
            raise TooLarge(f"the clip has {facts.frames} frames; at most {bounds.max_frames} are allowed")
        if facts.seconds > bounds.max_seconds:
            raise TooLarge(f"the clip lasts {facts.seconds:.1f} s; at most {bounds.max_seconds:g} s are allowed")

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames as the decoder gives them. A clip that breaks off in its last packets ends there, which the notes say."""
        context = self._stream.codec_context
        context.thread_count = 1
        damage: str | None = None
        for packet in self._container.demux(self._stream):
            if damage is not None and packet.size:
                raise Malformed(damage)
            try:
                frames = packet.decode()
            except av.error.FFmpegError as broken:
                damage = f"the clip is damaged {self._place(packet.pts)}: {broken.strerror}"
                continue
            for frame in frames:
                if packet.is_corrupt or frame.is_corrupt:
                    damage = f"the clip is damaged {self._place(frame.pts)}"
                yield frame
        if damage is not None:
            self._notes.append(f"{damage}; it was taken to end there")

    def _place(self, pts: int | None) -> str:
        base = self._stream.time_base
        return "in a packet without a time" if pts is None or base is None else f"at {float(pts * base):.2f} s"

    def _filtered(self) -> Iterator[VideoFrame]:
        frames = self._whole()
        return self._deinterlaced(frames) if self.facts.interlaced else frames

    def _whole(self) -> Iterator[VideoFrame]:
        """All frames from the first, as long as they keep their size and form."""
        facts = self.facts
        for number, frame in enumerate(self._chained()):
            if (frame.width, frame.height, frame.format.name) != (facts.width, facts.height, facts.layout):
                raise UnsupportedMedia(
                    f"frame {number} is {frame.width} x {frame.height} {frame.format.name} and the first "
                    f"{facts.width} x {facts.height} {facts.layout}; expected a clip of one size and form"
                )
            if number >= self._bounds.max_frames:
                raise TooLarge(f"the clip has more than {self._bounds.max_frames} frames, which is all that is allowed")
            yield frame

    def _chained(self) -> Iterator[VideoFrame]:
        first, self._first = self._first, []
        yield from first
        yield from self._ahead

    def _deinterlaced(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """One frame for each, at the same time; frames that are whole already pass as they are."""
        graph = av.filter.Graph()
        source = graph.add_buffer(template=self._stream)
        bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        for frame in frames:
            graph.vpush(frame)
            yield from _pulled(graph, self.facts.time_base)
        graph.vpush(None)
        yield from _pulled(graph, self.facts.time_base)

    def _timed(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, int, int]]:
        """Each with its time, and how long until the next; the last keeps the duration that the decoder gives it."""
        waiting: tuple[VideoFrame, int] | None = None
        for frame, pts in self._rising(frames):
            if waiting is not None:
                yield *waiting, pts - waiting[1]
            waiting = frame, pts
        if waiting is not None:
            yield *waiting, waiting[0].duration or self._step

    @property
    def _step(self) -> int:
        return max(1, round(1 / (self.facts.rate * self.facts.time_base)))

    def _rising(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
        """Each with its time. One that is missing follows the rate; one that does not rise is moved by a tick. Raises TooLarge."""
        origin: int | None = None
        last: int | None = None
        for frame in frames:
            pts = frame.pts
            if pts is None:
                self._notes.append("the clip's frames lack times: they follow its rate")
                pts = 0 if last is None else last + self._step
            if last is not None and pts <= last:
                self._notes.append("the clip shows frames at one and the same time: the later ones come a tick later")
                pts = last + 1
            origin, last = pts if origin is None else origin, pts
            if (pts - origin) * self.facts.time_base > self._bounds.max_seconds:
                raise TooLarge(f"the clip is longer than {self._bounds.max_seconds:g} s, which is all that is allowed")
            yield frame, pts

    def _facts(self, frames: list[VideoFrame]) -> ClipFacts:
        stream, first = self._stream, frames[0]
        container = self._container
        if max(first.width, first.height) > self._bounds.max_side or first.width * first.height > self._bounds.max_pixels:
            raise TooLarge(f"a frame is {first.width} x {first.height} pixels; at most {self._bounds.max_pixels} are allowed")
        interlaced = _field_order(stream) in INTERLACED_ORDERS or any(frame.interlaced_frame for frame in frames)
        time_base = stream.time_base or 1 / USUAL_RATE
        seconds = float(stream.duration * time_base) if stream.duration else (container.duration or 0) / av.time_base
        copied = container.streams
        return ClipFacts(
            container=container.format.name,
            width=first.width,
            height=first.height,
            codec=stream.codec_context.name,
            layout=layout_of(first.format.name).name,
            tags=ColourTags(int(first.colorspace), int(first.color_range), int(first.color_trc), int(first.color_primaries)),
            rotation=first.rotation,
            aspect=stream.sample_aspect_ratio or Fraction(1),
            time_base=time_base,
            rate=_rate(stream),
            frames=stream.frames or 0,
            seconds=max(0.0, seconds),
            interlaced=interlaced,
            audio=tuple(one.codec_context.name for one in copied.audio),
            subtitles=tuple(one.codec_context.name for one in copied.subtitles),
            notes=tuple(self._left_out() + ([DEINTERLACED] if interlaced else [])),
        )

    def _left_out(self) -> list[str]:
        streams = self._container.streams
        others = len(streams.video) - 1
        left = [f"{others} further video track{'s' * (others > 1)} left out"] if others else []
        if streams.data:
            left.append(f"{len(streams.data)} data track{'s' * (len(streams.data) > 1)} left out, which may tell places")
        return left


def _pulled(graph: av.filter.Graph, time_base: Fraction) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if frame.pts is not None and frame.time_base is not None:
            scale = frame.time_base / time_base
            frame.pts, frame.duration = round(frame.pts * scale), round((frame.duration or 0) * scale)
        yield frame


def _field_order(stream: VideoStream) -> int:
    return int(getattr(stream.codec_context, "field_order", 0) or 0)


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second: what the file says, within reason."""
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((Fraction(rate) for rate in rates if rate and FIRST_RATE <= rate <= LAST_RATE), USUAL_RATE)
