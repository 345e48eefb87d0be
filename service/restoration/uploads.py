"""The files that came with a request."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Uploads:
    """The bytes of the picture and of its mask, as they were sent."""

    image: bytes
    mask: bytes | None = None
