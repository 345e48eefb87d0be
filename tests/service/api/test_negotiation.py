"""Accept headers as RFC 9110 reads them."""

import pytest

from service.api.negotiation import SUBSTITUTES, negotiate, ranges
from service.errors import NotAcceptable
from service.pictures.formats import FORMATS


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("image/webp", [("image/webp", 1.0)]),
        ("a/b;q=0.2, c/d ;Q=0.7,e/f", [("e/f", 1.0), ("c/d", 0.7), ("a/b", 0.2)]),
        ("a/b;q=x, c/d;q=7, e/f;q=-1, word, ;;", [("a/b", 0.0), ("c/d", 0.0), ("e/f", 0.0)]),
        ("IMAGE/PNG;charset=x;q=0.5", [("image/png", 0.5)]),
    ],
)
def test_ranges_come_best_first(header: str, read: list[tuple[str, float]]) -> None:
    assert ranges(header) == read


@pytest.mark.parametrize(
    ("accept", "format_", "by_default", "shape", "kind"),
    [
        (None, None, False, "picture", None),
        (None, None, True, "json", None),
        ("image/*", None, True, "picture", None),
        ("image/webp", "png", False, "picture", "png"),
        ("image/jpg", None, False, "picture", "jpeg"),
        ("application/json, image/png;q=0.9", None, False, "json", None),
        ("application/*", "avif", False, "json", "avif"),
        ("text/event-stream", None, False, "events", None),
        ("image/heic, image/tiff;q=0.1", None, False, "picture", "tiff"),
    ],
)
def test_the_best_range_that_is_made_here_is_answered(
    accept: str | None, format_: str | None, by_default: bool, shape: str, kind: str | None
) -> None:
    answer, format_of_it = negotiate(accept, format_, by_default, FORMATS["png"])
    assert (answer, format_of_it and format_of_it.name) == (shape, kind)


@pytest.mark.parametrize("accept", ["application/pdf", "image/png;q=0", "*/*;q=0", "words"])
def test_nothing_that_is_made_is_refused_with_the_list(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"is made here; expected one of \['image/png'"):
        negotiate(accept, None, False, FORMATS["png"])


def test_a_kind_of_weight_0_is_not_answered_with_whatever_the_input_is() -> None:
    accept = "image/*, image/png;q=0"
    assert negotiate(accept, None, False, FORMATS["png"]) == ("picture", FORMATS["webp"])
    assert negotiate(accept, None, False, FORMATS["tiff"]) == ("picture", None)
    assert set(SUBSTITUTES) == set(FORMATS)


def test_json_that_is_not_wanted_is_not_the_default() -> None:
    assert negotiate("*/*, application/json;q=0", None, True, FORMATS["png"]) == ("picture", None)
