"""What the caller wants to get: `format` beats Accept, which beats the input's own format."""

from collections.abc import Mapping
from typing import Literal

from service.errors import NotAcceptable
from service.pictures.formats import BY_MEDIA_TYPE, FORMATS, PictureFormat
from service.restoration.documents import JSON

Shape = Literal["picture", "json", "events"]
EVENTS = "text/event-stream"
SUBSTITUTES = ("png", "webp", "jpeg", "avif", "tiff", "jxl")  # what holds most and is shown by most comes first
OFFERED = (*(kind.media_type for kind in FORMATS.values()), JSON, EVENTS)


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


def negotiate(
    accept: str | None, format_: str | None, json_by_default: bool, usual: PictureFormat
) -> tuple[Shape, PictureFormat | None]:
    """The answer's shape, and the picture's kind in it; None for the `usual` one of this input.

    RFC 9110, 12.5.1: the most specific range that a media type matches tells its weight; 0 is never answered with. Where any kind
    will do but the usual one is wanted less than others, the first of SUBSTITUTES that is not. json_by_default: the request came as
    JSON, so what accepts anything gets JSON. Raises NotAcceptable with the list.
    """
    kind = FORMATS[format_] if format_ is not None else None
    weights = dict(reversed(ranges(accept or "*/*")))
    for name, weight in ranges(accept or "*/*"):
        if weight > 0 and (answer := _answer_of(name, weight, weights, kind, usual, json_by_default)) is not None:
            return answer
    raise NotAcceptable(f"nothing that {(accept or '')[:80]!r} accepts is made here; expected one of {list(OFFERED)}")


def _answer_of(
    name: str,
    weight: float,
    weights: Mapping[str, float],
    kind: PictureFormat | None,
    usual: PictureFormat,
    json_by_default: bool,
) -> tuple[Shape, PictureFormat | None] | None:
    """What a range is answered with, if anything is left of it."""
    takes_json = _weight_of(JSON, weights) > 0
    if name == EVENTS:
        return "events", kind
    if name == JSON or (name == "application/*" and takes_json) or (name == "*/*" and json_by_default and takes_json):
        return "json", kind
    if name in BY_MEDIA_TYPE:
        return "picture", kind or BY_MEDIA_TYPE[name]
    if name in {"*/*", "image/*"}:
        unwanted = frozenset(record.name for record in FORMATS.values() if _weight_of(record.media_type, weights) < weight)
        if kind is not None or (unwanted < FORMATS.keys() and usual.name not in unwanted):
            return "picture", kind
        if unwanted < FORMATS.keys():
            return "picture", next(FORMATS[name] for name in SUBSTITUTES if name not in unwanted)
    return None


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    return next((weights[name] for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*") if name in weights), 0.0)
