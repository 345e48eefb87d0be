"""YUV <-> RGB by the stream's own matrix and range, so that a clip that nothing changes comes back as it went.

Tags alone convert nothing: libswscale takes RGB to limited-range BT.601 whatever the encoder's tags say. Limited range is converted
by libswscale with its exact flags (luma comes back to the bit). Full range is converted here: libswscale (9.5) reads and writes
full-range chroma half a level low, and 10-bit full-range luma one level and a half high.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from rddm.image import Depth, Pixels
from service.errors import UnsupportedMedia
from service.video.facts import FULL, LIMITED, RGB_MATRIX, UNSPECIFIED, UNSPECIFIED_MATRIX, ColourTags

EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP)
Sampling = Literal["gray", "420", "422", "444", "rgb"]

# AVColorSpace -> its code in libswscale, and the weights of red and blue in luma (ITU-R BT.601, BT.709, BT.2020, FCC, SMPTE 240M).
MATRICES: dict[int, tuple[int, Fraction, Fraction]] = {
    1: (1, Fraction("0.2126"), Fraction("0.0722")),
    4: (4, Fraction("0.30"), Fraction("0.11")),
    5: (5, Fraction("0.299"), Fraction("0.114")),
    6: (5, Fraction("0.299"), Fraction("0.114")),
    7: (7, Fraction("0.212"), Fraction("0.087")),
    9: (9, Fraction("0.2627"), Fraction("0.0593")),
}
HD_HEIGHT = 720  # an untagged stream from here on is taken as BT.709, below as BT.601, as players do
HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
OTHER_MATRICES = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}


@dataclass(frozen=True)
class PixelLayout:
    """How samples lie in a frame. bits: of a sample; name: FFmpeg's name of the pixel format."""

    name: str
    sampling: Sampling
    bits: int

    @property
    def depth(self) -> Depth:
        """The depth in which frames of this layout are worked on."""
        return 8 if self.bits <= 8 else 16


def layout_of(name: str) -> PixelLayout:
    """Raises UnsupportedMedia for a pixel format that is not read here, in words."""
    format_ = VideoFormat(name)
    if format_.has_palette or format_.is_bayer or "xyz" in name:
        raise UnsupportedMedia(f"a clip of pixel format {name} is not read here; expected YUV, RGB or grey samples")
    components = format_.components
    if len(components) in {2, 4} and components[-1].is_alpha:
        raise UnsupportedMedia(f"a clip with transparency ({name}) is not read here; expected one without")
    bits = max(component.bits for component in components)
    if bits > 16 or name.startswith(("grayf", "gbrpf", "rgbf")):
        raise UnsupportedMedia(f"a clip of pixel format {name} is not read here; expected whole numbers of 8 to 16 bits")
    return PixelLayout(name, _sampling(format_), bits)


def _sampling(format_: VideoFormat) -> Sampling:
    if len(format_.components) == 1:
        return "gray"
    if format_.is_rgb:
        return "rgb"
    across = format_.chroma_width(64)
    down = format_.chroma_height(64)
    if across == 64:
        return "444"  # 4:4:0 too: nothing is lost
    return "420" if down < 64 and across == 32 else "422" if across == 32 else "420"


def check_colours(tags: ColourTags) -> None:
    """Raises UnsupportedMedia, in words, for high dynamic range and for matrices that are not linear."""
    if tags.transfer in HDR_TRANSFERS:
        raise UnsupportedMedia(
            f"the clip has high dynamic range, {HDR_TRANSFERS[tags.transfer]}, and the models know standard range only; "
            "expected a clip that was tone-mapped before"
        )
    if tags.matrix in OTHER_MATRICES:
        raise UnsupportedMedia(
            f"a clip of colour matrix {OTHER_MATRICES[tags.matrix]} is not read here; expected a Y'CbCr or RGB one"
        )
    if tags.matrix not in MATRICES and tags.matrix not in {RGB_MATRIX, UNSPECIFIED_MATRIX}:
        raise UnsupportedMedia(f"a clip of colour matrix {tags.matrix} is not read here; expected a Y'CbCr or RGB one")


def matrix_of(tags: ColourTags, height: int) -> int:
    """The AVColorSpace that the samples are taken to have."""
    if tags.matrix in MATRICES:
        return tags.matrix
    return 1 if height >= HD_HEIGHT else 6


class Converter:
    """Frames of one clip to RGB pixels and back to `target`. Not for several threads."""

    def __init__(self, tags: ColourTags, height: int, source: PixelLayout, target: PixelLayout) -> None:
        self._tags = tags
        self._source, self._target = source, target
        self._matrix, red, blue = MATRICES[matrix_of(tags, height)]
        self._is_full = tags.range == FULL or (tags.range == UNSPECIFIED and source.name.startswith("yuvj"))
        self._weights = float(red), float(blue)
        self._reading, self._writing = VideoReformatter(), VideoReformatter()

    @property
    def depth(self) -> Depth:
        """Of the pixels."""
        return self._source.depth

    def to_pixels(self, frame: VideoFrame) -> Pixels:
        """The frame as RGB, h w 3: uint8, or uint16 where the clip has more than 8 bits."""
        if self._source.sampling == "gray":
            return _from_grey(_planes(frame)[0], 2**self._source.bits - 1, self.depth, is_full=self._has_full_grey)
        if self._by_hand(self._source):
            planes = self._reformat(self._reading, frame, self._planar(self._source.bits), FULL, FULL)
            return _from_full(_planes(planes), self._weights, _top(planes), self.depth)
        source_range = FULL if self._source.sampling == "rgb" or self._is_full else LIMITED
        rgb = self._reformat(self._reading, frame, _rgb(self.depth), source_range, FULL)
        return np.ascontiguousarray(rgb.to_ndarray())

    def to_frame(self, pixels: Pixels) -> VideoFrame:
        """RGB pixels as a frame of the target layout, tagged as the clip was."""
        if self._target.sampling == "gray":
            frame = _to_grey(pixels, self._weights, self._target, is_full=self._has_full_grey)
        elif self._by_hand(self._target):
            full = _to_full(pixels, self._weights, 2**self._target.bits - 1, self._planar(self._target.bits))
            frame = self._reformat(self._writing, full, self._target.name, FULL, FULL)
        else:
            target_range = FULL if self._target.sampling == "rgb" or self._is_full else LIMITED
            rgb = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=_rgb(8 if pixels.dtype == np.uint8 else 16))
            frame = self._reformat(self._writing, rgb, self._target.name, FULL, target_range)
        self._tag(frame)
        return frame

    @property
    def _has_full_grey(self) -> bool:
        """Grey that does not say its range has the full one, as FFmpeg's own grey formats do."""
        return self._tags.range != LIMITED

    def _by_hand(self, layout: PixelLayout) -> bool:
        return self._is_full and layout.sampling in {"420", "422", "444"}

    @staticmethod
    def _planar(bits: int) -> str:
        return "yuv444p" if bits <= 8 else f"yuv444p{bits}le"

    def _reformat(self, reformatter: VideoReformatter, frame: VideoFrame, format_: str, source: int, target: int) -> VideoFrame:
        return reformatter.reformat(
            frame,
            format=format_,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=source,
            dst_color_range=target,
            interpolation=EXACT,
            threads=1,
        )

    def _tag(self, frame: VideoFrame) -> None:
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        frame.color_trc, frame.color_primaries = self._tags.transfer, self._tags.primaries


def _rgb(depth: Depth) -> str:
    return "rgb24" if depth == 8 else "rgb48le"


def _planes(frame: VideoFrame) -> list[NDArray[Any]]:
    """The planes without the bytes that fill their lines."""
    kind: type[np.unsignedinteger[Any]] = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    wide = np.dtype(kind).itemsize
    return [
        np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // wide)[:, : plane.width]
        for plane in frame.planes
    ]


def _top(frame: VideoFrame) -> int:
    return int(2 ** frame.format.components[0].bits - 1)


def _from_full(planes: list[NDArray[Any]], weights: tuple[float, float], top: int, depth: Depth) -> Pixels:
    """Full-range Y'CbCr planes, chroma as large as luma, to R'G'B' (ITU-R BT.601-7, 2.5; H.273)."""
    red, blue = weights
    luma = planes[0].astype(np.float32)
    middle = np.float32((top + 1) // 2)
    cb, cr = planes[1].astype(np.float32) - middle, planes[2].astype(np.float32) - middle
    r = luma + np.float32(2 * (1 - red)) * cr
    b = luma + np.float32(2 * (1 - blue)) * cb
    g = (luma - np.float32(red) * r - np.float32(blue) * b) / np.float32(1 - red - blue)
    levels = np.stack([r, g, b], -1)
    levels *= np.float32((255 if depth == 8 else 65535) / top)
    limit = 255 if depth == 8 else 65535
    pixels: Pixels = np.rint(levels, out=levels).clip(0, limit).astype(np.uint8 if depth == 8 else np.uint16)
    return pixels


def _from_grey(luma: NDArray[Any], top: int, depth: Depth, *, is_full: bool) -> Pixels:
    """One plane h w, as three equal channels."""
    black, white = (0, top) if is_full else _limits(top)
    limit = 255 if depth == 8 else 65535
    levels = (luma.astype(np.float32) - np.float32(black)) * np.float32(limit / (white - black))
    pixels = np.rint(levels).clip(0, limit).astype(np.uint8 if depth == 8 else np.uint16)
    return np.repeat(pixels[..., None], 3, axis=2)


def _to_grey(pixels: Pixels, weights: tuple[float, float], layout: PixelLayout, *, is_full: bool) -> VideoFrame:
    red, blue = weights
    top = 2**layout.bits - 1
    black, white = (0, top) if is_full else _limits(top)
    levels = pixels.astype(np.float32) @ np.array([red, 1 - red - blue, blue], np.float32)
    levels = levels * np.float32((white - black) / np.iinfo(pixels.dtype).max) + np.float32(black)
    frame = VideoFrame(pixels.shape[1], pixels.shape[0], layout.name)
    plane = _planes(frame)[0]
    plane[...] = np.rint(levels).clip(0, top).astype(plane.dtype)
    return frame


def _limits(top: int) -> tuple[int, int]:
    """Black and white of the limited range: 16 and 235 of 8 bits."""
    scale = (top + 1) // 256
    return 16 * scale, 235 * scale


def _to_full(pixels: Pixels, weights: tuple[float, float], top: int, format_: str) -> VideoFrame:
    """The other way, as a planar frame with chroma as large as luma."""
    red, blue = weights
    levels = pixels.astype(np.float32)
    levels *= np.float32(top / np.iinfo(pixels.dtype).max)
    r, g, b = levels[..., 0], levels[..., 1], levels[..., 2]
    luma = np.float32(red) * r + np.float32(1 - red - blue) * g + np.float32(blue) * b
    middle = np.float32((top + 1) // 2)
    cb = (b - luma) / np.float32(2 * (1 - blue)) + middle
    cr = (r - luma) / np.float32(2 * (1 - red)) + middle
    frame = VideoFrame(pixels.shape[1], pixels.shape[0], format_)
    for plane, values in zip(_planes(frame), (luma, cb, cr), strict=True):
        plane[...] = np.rint(values).clip(0, top).astype(plane.dtype)
    return frame
