"""What callers may set, and what is refused in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.restoration.parameters import LARGEST_SEED, GenerateBody, GenerateParameters, RestoreBody, RestoreParameters


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("steps", "5", 5),
        ("seed", LARGEST_SEED, LARGEST_SEED),
        ("format", "jxl", "jxl"),
        ("lossless", "true", True),
        ("return", "residual", "residual"),
        ("quality", 100, 100),
    ],
)
def test_values_are_read_from_text_and_json(name: str, value: Any, meant: Any) -> None:
    parameters = RestoreParameters.model_validate({name: value})
    assert getattr(parameters, "returned" if name == "return" else name) == meant


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", 2.0, "expected a whole number"),
        ("quality", "worst", "expected best, or a whole number from 1 to 100"),
        ("steps", True, "expected a whole number"),
        ("steps", "1e3", "expected a whole number"),
        ("steps", "٣", "expected a whole number"),
        ("steps", 0, "expected a whole number from 1 to 1000"),
        ("seed", LARGEST_SEED + 1, f"expected a whole number from 0 to {LARGEST_SEED}"),
        ("format", "heic", "expected one of ['png', 'jpeg', 'webp', 'avif', 'tiff', 'jxl']"),
        ("lossless", "yes", "expected true or false"),
        ("task", "", "expected 1 to 5 names"),
        ("nothing", 1, "Extra inputs are not permitted"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        RestoreParameters.model_validate({name: value})
    assert words in str(wrong.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "expected either image or image_url"),
        ({"image": "AA", "image_url": "https://a/b"}, "expected either image or image_url"),
        ({"image": "AA", "mask": "AA", "mask_url": "https://a/b"}, "expected mask or mask_url, not both"),
    ],
)
def test_a_body_has_one_picture_and_at_most_one_mask(body: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RestoreBody.model_validate(body)


def test_an_order_is_the_body_without_its_pictures() -> None:
    order = RestoreBody.model_validate({"image": "AA", "seed": 7, "return": "steps", "output_url": "https://a/b"}).order()
    assert order.model_dump(exclude_unset=True, by_alias=True) == {"seed": 7, "return": "steps", "output_url": "https://a/b"}
    assert GenerateBody.model_validate({"n": 3}).parameters() == GenerateParameters(n=3)


def test_every_member_of_a_body_that_need_not_be_there_may_be_null_in_its_schema() -> None:
    schema = RestoreBody.model_json_schema()
    assert all({"type": "null"} in member["anyOf"] for member in schema["properties"].values())
    assert schema["properties"]["seed"]["default"] == 0


@pytest.mark.parametrize(
    ("given", "flips", "file_quality"),
    [
        ({}, False, None),
        ({"quality": "best"}, True, None),
        ({"quality": "80"}, False, 80),
        ({"quality": 80, "ensemble": True}, True, 80),
    ],
)
def test_best_averages_mirror_images_and_writes_in_high_quality(
    given: dict[str, object], flips: bool, file_quality: int | None
) -> None:
    parameters = RestoreParameters.model_validate(given)
    assert (parameters.flips, parameters.file_quality) == (flips, file_quality)


@pytest.mark.parametrize("quality", ["better", 0, 101, 10**30, 9.5, True])
def test_another_quality_is_refused_once_with_what_is_allowed(quality: object) -> None:
    with pytest.raises(ValidationError) as refused:
        RestoreParameters.model_validate({"quality": quality})
    assert [(one["loc"], one["msg"]) for one in refused.value.errors()] == [
        (("quality",), "Value error, expected best, or a whole number from 1 to 100")
    ]


@pytest.mark.parametrize("brightness", ["bright", 3.1, -4, "NaN", True])
def test_another_brightness_is_refused_once_with_what_is_allowed(brightness: object) -> None:
    with pytest.raises(ValidationError) as refused:
        RestoreParameters.model_validate({"brightness": brightness})
    assert [(one["loc"], one["msg"]) for one in refused.value.errors()] == [
        (("brightness",), "Value error, expected auto, or a number from -3 to 3")
    ]
