"""What the caller wants to get: `format` beats Accept, which beats the input's own format."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from service.errors import NotAcceptable
from service.pictures.formats import BY_MEDIA_TYPE, FORMATS, PictureFormat
from service.restoration.documents import JSON

Shape = Literal["picture", "json", "events"]
EVENTS = "text/event-stream"
SUBSTITUTES = ("png", "webp", "jpeg", "avif", "tiff", "jxl")  # what holds most and is shown by most comes first
OFFERED = (*(kind.media_type for kind in FORMATS.values()), JSON, EVENTS)


@dataclass(frozen=True)
class AcceptedFormat:
    """The answer's shape, and the picture's kind in it; None leaves the kind to the input.

    unwanted: names of the kinds that the header wants less than others, or not at all.
    """

    shape: Shape
    kind: PictureFormat | None
    unwanted: frozenset[str] = frozenset()

    def settled(self, usual: PictureFormat) -> "AcceptedFormat":
        """The same; where the kind is left to the input, and its usual one is not wanted, with the first of SUBSTITUTES that is."""
        if self.kind is not None or usual.name not in self.unwanted:
            return self
        return replace(self, kind=next(FORMATS[name] for name in SUBSTITUTES if name not in self.unwanted))


def ranges(header: str) -> list[tuple[str, float]]:
    """The media ranges of an Accept header with their weights, best first; what cannot be read counts for nothing."""
    pairs = [_range_of(part) for part in header.split(",")]
    return sorted([(name, weight) for name, weight in pairs if "/" in name], key=lambda pair: -pair[1])


def _range_of(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        weight = 0.0
    return name, weight if 0 < weight <= 1 else 0.0


def negotiate(accept: str | None, format_: str | None, json_by_default: bool) -> AcceptedFormat:
    """RFC 9110, 12.5.1: the most specific range that a media type matches tells its weight; 0 is never answered with.

    json_by_default: the request came as JSON, so what accepts anything gets JSON. Raises NotAcceptable with the list.
    """
    kind = FORMATS[format_] if format_ is not None else None
    weights = dict(reversed(ranges(accept or "*/*")))
    for name, weight in ranges(accept or "*/*"):
        if weight > 0 and (answer := _answer_of(name, weight, weights, kind, json_by_default)) is not None:
            return answer
    raise NotAcceptable(f"nothing that {(accept or '')[:80]!r} accepts is made here; expected one of {list(OFFERED)}")


def _answer_of(
    name: str, weight: float, weights: Mapping[str, float], kind: PictureFormat | None, json_by_default: bool
) -> AcceptedFormat | None:
    """What a range is answered with, if anything is left of it."""
    takes_json = _weight_of(JSON, weights) > 0
    if name == EVENTS:
        return AcceptedFormat("events", kind)
    if name == JSON or (name == "application/*" and takes_json) or (name == "*/*" and json_by_default and takes_json):
        return AcceptedFormat("json", kind)
    if name in BY_MEDIA_TYPE:
        return AcceptedFormat("picture", kind or BY_MEDIA_TYPE[name])
    if name in {"*/*", "image/*"}:
        unwanted = frozenset(record.name for record in FORMATS.values() if _weight_of(record.media_type, weights) < weight)
        if kind is not None or unwanted < FORMATS.keys():
            return AcceptedFormat("picture", kind, unwanted)
    return None


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    return next((weights[name] for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*") if name in weights), 0.0)
