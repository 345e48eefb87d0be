"""What the caller wants to get: `format` beats Accept, which beats the input's own format."""

from dataclasses import dataclass
from typing import Literal

from service.errors import NotAcceptable
from service.pictures.formats import BY_MEDIA_TYPE, FORMATS, PictureFormat
from service.restoration.documents import JSON

Shape = Literal["picture", "json", "events"]
EVENTS = "text/event-stream"
OFFERED = (*(kind.media_type for kind in FORMATS.values()), JSON, EVENTS)


@dataclass(frozen=True)
class AcceptedFormat:
    """The answer's shape, and the picture's kind in it; None leaves the kind to the input."""

    shape: Shape
    kind: PictureFormat | None


def ranges(header: str) -> list[tuple[str, float]]:
    """The media ranges of an Accept header with their weights, best first; what cannot be read counts for nothing."""
    found = []
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        if "/" in name and weight > 0:
            found.append((name, weight))
    return sorted(found, key=lambda one: -one[1])


def negotiate(accept: str | None, format_: str | None, json_by_default: bool) -> AcceptedFormat:
    """json_by_default: the request came as JSON, so what accepts anything gets JSON. Raises NotAcceptable with the list."""
    kind = FORMATS[format_] if format_ is not None else None
    for name, _ in ranges(accept or "*/*"):
        if name == EVENTS:
            return AcceptedFormat("events", kind)
        if name in {JSON, "application/*"}:
            return AcceptedFormat("json", kind)
        if name in BY_MEDIA_TYPE:
            return AcceptedFormat("picture", kind or BY_MEDIA_TYPE[name])
        if name == "*/*":
            return AcceptedFormat("json" if json_by_default else "picture", kind)
        if name == "image/*":
            return AcceptedFormat("picture", kind)
    raise NotAcceptable(f"nothing that {(accept or '')[:80]!r} accepts is made here; expected one of {list(OFFERED)}")
