"""What a stream says of its colours."""

from dataclasses import dataclass

UNSPECIFIED, LIMITED, FULL = 0, 1, 2  # AVColorRange
RGB_MATRIX, UNSPECIFIED_MATRIX = 0, 2


@dataclass(frozen=True)
class ColourTags:
    """AVColorSpace, AVColorRange, AVColorTransferCharacteristic and AVColorPrimaries (ITU-T H.273), 2 (range 0) if unspecified."""

    matrix: int = UNSPECIFIED_MATRIX
    range: int = UNSPECIFIED
    transfer: int = 2
    primaries: int = 2
