"""What is known of a clip before its frames are read, what may be asked of one, and the kinds of clip files."""

import importlib.util
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

from service.errors import InvalidValue, TooLarge, UnsupportedMedia

Codec = Literal["h264", "h265", "av1", "ffv1"]
Container = Literal["mp4", "mov", "mkv"]


UNSPECIFIED, LIMITED, FULL = 0, 1, 2  # AVColorRange
RGB_MATRIX, UNSPECIFIED_MATRIX = 0, 2


@dataclass(frozen=True)
class ColourTags:
    """What a stream says of its colours.

    AVColorSpace, AVColorRange, AVColorTransferCharacteristic and AVColorPrimaries (ITU-T H.273), 2 (range 0) if unspecified.
    """

    matrix: int = UNSPECIFIED_MATRIX
    range: int = UNSPECIFIED
    transfer: int = 2
    primaries: int = 2


@dataclass(frozen=True)
class ClipBounds:
    """What a clip may be: pixels of a frame, along a side, frames, and seconds."""

    max_pixels: int
    max_side: int
    max_frames: int
    max_seconds: float


MISSING = "clips are not read here: the extra `video` is not installed; pip install 'rddm-serve[video]'"
NO_LIMIT = 10**9  # frames and seconds, on a machine whose user decides


@dataclass(frozen=True)
class ClipFacts:
    """A clip as its file tells it.

    width, height: of a stored frame; layout: FFmpeg's name of the pixel format; rotation: degrees counterclockwise for display;
    aspect: of a pixel; time_base: seconds of a tick; rate: frames a second, guessed; frames, seconds: as the header claims, 0 where
    it does not; interlaced: frames go through a deinterlacing filter. subtitles: their codecs. audio: how many tracks.
    notes: in words, what is done otherwise or left out.
    """

    container: str
    width: int
    height: int
    codec: str
    layout: str
    tags: ColourTags
    rotation: int
    aspect: Fraction
    time_base: Fraction
    rate: Fraction
    frames: int
    seconds: float
    interlaced: bool
    audio: tuple[str, ...] = ()
    subtitles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def enlarged(self, scale: int, bounds: ClipBounds) -> Self:
        """So many times as high and wide. Raises TooLarge where that is over the bounds."""
        width, height = self.width * scale, self.height * scale
        if scale > 1 and (width * height > bounds.max_pixels or max(width, height) > bounds.max_side):
            raise TooLarge(
                f"a frame of the result is {width} x {height} pixels; at most {bounds.max_pixels} in all and {bounds.max_side} "
                "along a side are allowed"
            )
        return replace(self, width=width, height=height)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        facts = asdict(self)
        return facts | {name: str(facts[name]) for name in ("aspect", "time_base", "rate")}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ClipFacts":
        """What `document` gave."""
        fractions = {name: Fraction(document[name]) for name in ("aspect", "time_base", "rate")}
        tuples = {name: tuple(document[name]) for name in ("audio", "subtitles", "notes")}
        return cls(**{**document, **fractions, **tuples, "tags": ColourTags(**document["tags"])})


@dataclass(frozen=True)
class EncoderKind:
    """A way to write frames. name: FFmpeg's; quality: the default and the range of its scale, where it has one."""

    name: str
    words: str
    containers: tuple[Container, ...]
    default_quality: int = 0
    best_quality: int = 0
    worst_quality: int = 0
    options: dict[str, str] = field(default_factory=dict)


# x264's macroblock tree without assembly: its AVX-512 reads memory that it did not write, and equal frames give other bytes now and
# then (findings/x264_avx512_mbtree.sh). The rest of the assembly changes no byte.
ENCODERS: dict[Codec, EncoderKind] = {
    "h264": EncoderKind(
        "libx264", "H.264", ("mp4", "mov", "mkv"), 18, 0, 51, {"preset": "veryfast", "x264-params": "cpu-independent=1"}
    ),
    "h265": EncoderKind(
        "libx265",
        "H.265",
        ("mp4", "mov", "mkv"),
        20,
        0,
        51,
        {"preset": "fast", "x265-params": "log-level=error:bframes=0:pools=none:frame-threads=1"},
    ),
    "av1": EncoderKind("libsvtav1", "AV1", ("mp4", "mkv"), 25, 1, 63, {"preset": "8", "svtav1-params": "lp=2"}),
    "ffv1": EncoderKind("ffv1", "FFV1", ("mkv", "mp4"), options={"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}),
}
SUFFIXES: dict[str, Container] = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "mkv"}
SUFFIX_OF: dict[Container, str] = {"mp4": ".mp4", "mov": ".mov", "mkv": ".mkv"}
MEDIA_TYPES: dict[Container, str] = {"mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska"}
MUXERS: dict[Container, str] = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
READ_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".ts",
    ".m2ts",
    ".mts",
    ".mpg",
    ".mpeg",
    ".flv",
    ".ogv",
    ".nut",
    ".3gp",
)
EXPECTED = "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg or NUT"
PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def check_installed() -> None:
    """Raises UnsupportedMedia where PyAV or OpenCV is not there."""
    if any(importlib.util.find_spec(name) is None for name in ("av", "cv2")):
        raise UnsupportedMedia(MISSING)


def container_of(start: bytes) -> str:
    """FFmpeg's name of the demuxer for a file that starts with these bytes (400 suffice). Raises UnsupportedMedia."""
    if start[4:8] in MOV_BOXES and not (start[4:8] == b"ftyp" and start[8:12] in PICTURE_BRANDS):
        return "mov"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    magics = {b"\x1a\x45\xdf\xa3": "matroska", b"FLV\x01": "flv", b"OggS": "ogg", b"\0\0\x01\xba": "mpeg", b"nut/multimedia": "nut"}
    named = next((name for magic, name in magics.items() if start.startswith(magic)), None)
    if named is not None:
        return named
    if any(len(start) > at + size and start[at] == start[at + size] == 0x47 for at, size in ((0, 188), (4, 192))):
        return "mpegts"
    raise UnsupportedMedia(f"what was sent is no clip that is read here; expected {EXPECTED}")


def is_clip(path: Path) -> bool:
    """Whether a file is a clip, by its name."""
    return path.suffix.lower() in READ_SUFFIXES


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is written. Raises InvalidValue for what does not go together."""

    codec: Codec = "h264"
    quality: int | None = None
    container: Container = "mp4"

    def __post_init__(self) -> None:
        kind = ENCODERS[self.codec]
        if self.container not in kind.containers:
            raise InvalidValue(f"{kind.words} is not written into {self.container}; expected one of {list(kind.containers)}")
        if self.quality is None:
            return
        if self.codec == "ffv1":
            raise InvalidValue(f"quality = {self.quality}, and FFV1 is lossless and has none")
        if not kind.best_quality <= self.quality <= kind.worst_quality:
            raise InvalidValue(
                f"quality = {self.quality}; {kind.words} takes {kind.best_quality} (best) to {kind.worst_quality} (smallest)"
            )

    @property
    def encoder(self) -> EncoderKind:
        """What writes the frames."""
        return ENCODERS[self.codec]
