"""What callers may set of a clip."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidValue
from service.video.facts import ClipOptions
from service.video.parameters import ClipParameters


@pytest.mark.parametrize(
    ("members", "options"),
    [
        ({}, ClipOptions("h264", None, "mp4")),
        ({"codec": "ffv1"}, ClipOptions("ffv1", None, "mkv")),
        ({"codec": "ffv1", "container": "mp4"}, ClipOptions("ffv1", None, "mp4")),
        ({"codec": "h265", "quality": "30", "container": "mov"}, ClipOptions("h265", 30, "mov")),
    ],
)
def test_what_is_absent_is_what_suits_the_codec(members: dict[str, Any], options: ClipOptions) -> None:
    assert ClipParameters.model_validate(members).options() == options


@pytest.mark.parametrize("members", [{"codec": "vp9"}, {"steady": "yes"}, {"quality": 64}, {"seed": -1}, {"more": 1}])
def test_what_is_not_allowed_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClipParameters.model_validate(members)


def test_a_quality_of_what_has_none_is_refused() -> None:
    with pytest.raises(InvalidValue, match="lossless"):
        ClipParameters(codec="ffv1", quality=3).options()
