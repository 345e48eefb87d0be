"""The header of a JPEG XL codestream (ISO/IEC 18181-1, annexes B to E): size, depth, and colours, read, and written anew.

imagecodecs reads and writes the pixels; of the colours it says nothing when it reads, and calls all of more than 8 bits linear
light when it writes. So what a file's numbers mean is read here, and set here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.pictures.cicp import BT709, BT2020, D65, DISPLAY_P3, Chromaticities

RGB, GREY, XYB, UNKNOWN = range(4)
CUSTOM = 2
WHITE_POINTS = {1: D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
PRIMARIES = {1: BT709[2:], 9: BT2020[2:], 11: DISPLAY_P3[2:]}
BT709_CURVE, LINEAR, SRGB, PQ, DCI, HLG = 1, 8, 13, 16, 17, 18
PICTURE_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
ALPHA_CHANNEL = 0
Distribution = tuple[tuple[int, int], ...]  # four of (bits, offset)
ENUMERATION: Distribution = ((0, 0), (0, 1), (4, 2), (6, 18))
SIZE: Distribution = ((9, 1), (13, 1), (18, 1), (30, 1))
CUSTOM_XY: Distribution = ((19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21))
INTEGER_BITS: Distribution = ((0, 8), (0, 10), (0, 12), (6, 1))
FLOAT_BITS: Distribution = ((0, 32), (0, 16), (0, 24), (6, 1))


class UnreadableHeader(ValueError):
    """The codestream is cut short, or of a kind that this reader does not know."""


class Bits:
    """Bits of a codestream, the least significant of each byte first; those that are read are kept, to be written again."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._length = 8 * len(data)
        self.at = 0

    def read(self, count: int) -> int:
        """A number of so many bits. Raises UnreadableHeader at the end."""
        if self.at + count > self._length:
            raise UnreadableHeader("the codestream ends in its header")
        value = (self._value >> self.at) & ((1 << count) - 1)
        self.at += count
        return value

    def flag(self) -> bool:
        """One bit."""
        return self.read(1) == 1

    def one_of(self, distribution: Distribution) -> int:
        """U32 of the standard: two bits choose how many follow, and what is added to them."""
        count, offset = distribution[self.read(2)]
        return self.read(count) + offset

    def between(self, start: int, end: int) -> int:
        """The bits from one place to another, as a number."""
        return (self._value >> start) & ((1 << (end - start)) - 1)


class Writer:
    """Bits to be written."""

    def __init__(self) -> None:
        self._value = self.length = 0

    def write(self, value: int, count: int) -> None:
        """A number of so many bits."""
        self._value |= value << self.length
        self.length += count

    def one_of(self, distribution: Distribution, value: int) -> None:
        """The shortest way in which a distribution holds the value. Raises UnreadableHeader where none does."""
        fitting = [index for index, (count, offset) in enumerate(distribution) if 0 <= value - offset < 1 << count]
        if not fitting:
            raise UnreadableHeader(f"{value} cannot be written")
        index = min(fitting, key=lambda one: distribution[one][0])
        count, offset = distribution[index]
        self.write(index, 2)
        self.write(value - offset, count)

    def data(self) -> bytes:
        """All of it, up to a whole byte."""
        return self._value.to_bytes((self.length + 7) // 8, "little")


@dataclass(frozen=True)
class Colours:
    """What the numbers mean. has_profile: an ICC profile says it; else chromaticities, and a code of H.273 or a power as curve."""

    space: int = RGB
    has_profile: bool = False
    chromaticities: Chromaticities = BT709
    curve: int | float = SRGB


@dataclass(frozen=True)
class Header:
    """bits: of a sample; is_float: whether those are floating point; alpha_multiplied: colours are multiplied by alpha; xyb: the
    samples are stored in a space of their own, which is never without loss; places: of the depth and of the colours, in bits."""

    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    is_float: bool = False
    animated: bool = False
    alpha_multiplied: bool = False
    xyb: bool = True
    colours: Colours = Colours()
    depth_at: tuple[int, int] = (0, 0)
    colours_at: tuple[int, int] = (0, 0)


def read(codestream: bytes) -> Header:
    """The header at the beginning of a codestream. Raises UnreadableHeader."""
    bits = Bits(codestream[:8192])
    if bits.read(16) != 0x0AFF:
        raise UnreadableHeader("no JPEG XL codestream")
    width, height = _size(bits)
    return replace(_metadata(bits), width=width, height=height)


def _size(bits: Bits, small_bits: int = 5) -> tuple[int, int]:
    """Width and height."""
    small = bits.flag()

    def side() -> int:
        return (bits.read(small_bits) + 1) * 8 if small else bits.one_of(SIZE)

    height = side()
    ratio = bits.read(3)
    if ratio == 0:
        return side(), height
    across, down = PICTURE_RATIOS[ratio - 1]
    return height * across // down, height


def _metadata(bits: Bits) -> Header:
    header = Header(0, 0)
    if bits.flag():  # all as usual: 8 bits, sRGB
        return header
    if bits.flag():
        header = _extra_fields(bits, header)
    depth_at = bits.at
    is_float, sample_bits = _depth(bits)
    depth_end = bits.at
    bits.flag()  # whether 16-bit buffers are enough
    multiplied = [_extra_channel(bits) for _ in range(bits.one_of(((0, 0), (0, 1), (4, 2), (12, 1))))]
    xyb = bits.flag()
    colours_at = bits.at
    colours = _colours(bits)
    return replace(
        header,
        bits=sample_bits,
        is_float=is_float,
        alpha_multiplied=any(multiplied),
        xyb=xyb,
        colours=colours,
        depth_at=(depth_at, depth_end),
        colours_at=(colours_at, bits.at),
    )


def _extra_fields(bits: Bits, header: Header) -> Header:
    orientation = bits.read(3) + 1
    if bits.flag():
        _size(bits)
    if bits.flag():
        raise UnreadableHeader("a JPEG XL with a preview")
    animated = bits.flag()
    if animated:
        for distribution in (((0, 100), (0, 1000), (10, 1), (30, 1)), ((0, 1), (0, 1001), (8, 1), (10, 1))):
            bits.one_of(distribution)
        bits.one_of(((0, 0), (3, 0), (16, 0), (32, 0)))
        bits.flag()
    return replace(header, orientation=orientation, animated=animated)


def _depth(bits: Bits) -> tuple[bool, int]:
    is_float = bits.flag()
    if not is_float:
        return False, bits.one_of(INTEGER_BITS)
    sample_bits = bits.one_of(FLOAT_BITS)
    bits.read(4)
    return True, sample_bits


def _extra_channel(bits: Bits) -> bool:
    """Whether it is an alpha with which the colours are multiplied."""
    if bits.flag():
        return False
    kind = bits.one_of(ENUMERATION)
    _depth(bits)
    bits.one_of(((0, 0), (0, 3), (0, 4), (3, 1)))
    bits.read(8 * bits.one_of(((0, 0), (4, 0), (5, 16), (10, 48))))
    if kind == ALPHA_CHANNEL:
        return bits.flag()
    if kind == 2:  # a spot colour
        bits.read(4 * 16)
    elif kind == 5:  # a colour filter array
        bits.one_of(((0, 1), (2, 0), (4, 3), (8, 19)))
    return False


def _colours(bits: Bits) -> Colours:
    if bits.flag():
        return Colours()
    has_profile, space = bits.flag(), bits.one_of(ENUMERATION)
    if has_profile or space == XYB:
        return Colours(space, has_profile)
    white = _named_or_custom(bits, WHITE_POINTS, 1)
    primaries = _named_or_custom(bits, PRIMARIES, 3) if space != GREY else BT709[2:]
    curve = bits.read(24) / 1e7 if bits.flag() else bits.one_of(ENUMERATION)
    bits.one_of(ENUMERATION)  # rendering intent
    power = curve if isinstance(curve, int) or curve == 0 else 1 / curve
    return Colours(space, False, (*white, *primaries), power)  # type: ignore[arg-type]


def _named_or_custom(bits: Bits, names: Mapping[int, tuple[float, ...]], points: int) -> tuple[float, ...]:
    name = bits.one_of(ENUMERATION)
    if name in names:
        return names[name]
    if name != CUSTOM:
        raise UnreadableHeader(f"colours of an unknown name, {name}")
    return tuple(_signed(bits.one_of(CUSTOM_XY)) / 1e6 for _ in range(2 * points))


def _signed(value: int) -> int:
    return -(value + 1) // 2 if value & 1 else value // 2


def rewritten(codestream: bytes, colours: Colours, sample_bits: int) -> bytes:
    """A codestream that imagecodecs wrote, saying that its numbers mean those colours and have so many bits.

    Raises UnreadableHeader for one that this function does not understand to its end.
    """
    header, bits = read(codestream), Bits(codestream[:8192])
    if header.colours_at == (0, 0):
        return codestream if colours == Colours() and sample_bits == 8 else _from_default(codestream, colours, sample_bits)
    bits.at = header.colours_at[1]
    if bits.read(2) != 0 or not bits.flag():
        raise UnreadableHeader("extensions, or an unusual transform, behind the colours")
    end = bits.at
    writer = Writer()
    writer.write(bits.between(0, header.depth_at[0]), header.depth_at[0])
    writer.write(0, 1)
    writer.one_of(INTEGER_BITS, sample_bits)
    writer.write(bits.between(header.depth_at[1], header.colours_at[0]), header.colours_at[0] - header.depth_at[1])
    _write_colours(writer, colours)
    writer.write(bits.between(header.colours_at[1], end), end - header.colours_at[1])
    return writer.data() + codestream[(end + 7) // 8 :]


def _from_default(codestream: bytes, colours: Colours, sample_bits: int) -> bytes:
    """Reads the metadata of a header that says that all is as usual, which is one bit."""
    bits = Bits(codestream[:64])
    bits.read(16)
    _size(bits)
    at = bits.at
    end = at + 2  # that bit, and the one that says so of the transform
    writer = Writer()
    writer.write(bits.between(0, at), at)
    writer.write(0, 2)  # not all as usual; no extra fields
    writer.write(0, 1)
    writer.one_of(INTEGER_BITS, sample_bits)
    writer.write(1, 1)  # 16-bit buffers are enough
    writer.write(0, 2)  # no extra channels
    writer.write(1, 1)  # XYB
    _write_colours(writer, colours)
    writer.write(0, 2)  # no extensions
    writer.write(1, 1)  # the usual transform
    return writer.data() + codestream[(end + 7) // 8 :]


def _write_colours(writer: Writer, colours: Colours) -> None:
    if colours == Colours():
        writer.write(1, 1)
        return
    writer.write(0, 2)  # not as usual; no profile
    writer.one_of(ENUMERATION, colours.space)
    _write_points(writer, WHITE_POINTS, colours.chromaticities[:2])
    if colours.space != GREY:
        _write_points(writer, PRIMARIES, colours.chromaticities[2:])
    writer.write(0, 1)  # a named curve
    writer.one_of(ENUMERATION, int(colours.curve))
    writer.one_of(ENUMERATION, 1)  # relative


def _write_points(writer: Writer, names: Mapping[int, tuple[float, ...]], points: Sequence[float]) -> None:
    name = next((name for name, named in names.items() if np.allclose(named, points, rtol=0, atol=2e-4)), CUSTOM)
    writer.one_of(ENUMERATION, name)
    if name == CUSTOM:
        for value in points:
            whole = round(value * 1e6)
            writer.one_of(CUSTOM_XY, 2 * whole if whole >= 0 else -2 * whole - 1)
