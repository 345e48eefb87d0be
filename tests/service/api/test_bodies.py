"""Queries, JSON and base64 are read strictly, or as forgivingly as their standards say."""

import base64
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from service.api.bodies import fields_of, form_of, from_base64, from_query, json_body, media_type, one_file, validated
from service.errors import InvalidValue, Malformed, UnsupportedMedia
from service.restoration.parameters import RestoreBody, RestoreParameters

DATA = bytes(range(250, 256)) + b"picture"
TEXT = base64.b64encode(DATA).decode()


def request(body: bytes = b"", query: str = "", kind: str = "application/json") -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": query.encode()}, receive)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"{TEXT[:4]}\n {TEXT[4:]}",
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        f"data:image/png;base64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"DATA:application/octet-stream;x=y;base64,{TEXT.replace('+', '%2B').replace('=', '%3D')}",
    ],
)
def test_base64_is_read_as_tools_write_it(text: str) -> None:
    assert from_base64(text, "image") == DATA


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data:text/html;base64,AAAA", "`image` is a data: URL of another kind"),
        ("!!!!", "`image` is not base64"),
        ("AAAAA", "`image` is not base64"),
        ("data:image/png;base64,", "the picture has 0 bytes"),
    ],
)
def test_what_is_no_base64_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        from_base64(text, "image")


async def test_a_json_object_is_read() -> None:
    assert await json_body(request(b'{"steps": 2}')) == {"steps": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1]", "JSON but no object"),
        (b"{", "not JSON, or too deep"),
        (b'{"a": ' + b"[" * 100_000, "not JSON, or too deep"),
        (b'{"a": 1, "a": 2}', "a member is there twice"),
        (b'{"a": NaN}', "NaN is no number in JSON"),
        (b'{"a": "\xff"}', "not JSON, or too deep"),
    ],
)
async def test_json_is_read_strictly(body: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        await json_body(request(body))


async def test_a_body_of_another_kind_is_refused_by_its_kind() -> None:
    asked = request(b"a,b", kind="TEXT/csv; charset=utf-8")
    assert media_type(asked) == "text/csv"
    with pytest.raises(UnsupportedMedia, match="a body of 'text/csv' is not read here; expected application/json"):
        await json_body(asked)


def test_a_name_that_is_in_the_query_twice_is_refused() -> None:
    assert from_query(RestoreParameters, request(query="steps=2")).steps == 2
    with pytest.raises(InvalidValue, match="'steps' is in the query 2 times; expected it once"):
        from_query(RestoreParameters, request(query="steps=2&steps=3"))
    with pytest.raises(RequestValidationError) as wrong:
        from_query(RestoreParameters, request(query="stepz=2"))
    assert wrong.value.errors()[0]["loc"] == ("query", "stepz")


def test_query_and_body_add_up_and_null_says_nothing() -> None:
    query = RestoreParameters(seed=7)
    body = validated(RestoreBody, {"image": "AAAA", "steps": 3, "format": None}, query)
    assert (body.seed, body.steps, body.format) == (7, 3, None)
    with pytest.raises(InvalidValue, match="seed is in the query and in the body"):
        validated(RestoreBody, {"image": "AAAA", "seed": 1}, query)


FORM = "multipart/form-data; boundary=XbX"


def parts(*pairs: tuple[str, bytes]) -> bytes:
    """A form of parts with these words behind `form-data; `."""
    pieces = (f"--XbX\r\nContent-Disposition: form-data; {words}\r\n\r\n".encode() + value + b"\r\n" for words, value in pairs)
    return b"".join(pieces) + b"--XbX--\r\n"


async def test_a_form_holds_texts_and_files_by_name() -> None:
    image = b"\r\n--Xb" + bytes(range(256)) * 6000  # more than Starlette keeps in memory
    form = await form_of(
        request(parts(('name="image"', image), ('name="mask"; filename=""', b"m"), ('name="steps"', b"2")), kind=FORM)
    )
    assert (one_file(form, "image"), one_file(form, "mask"), one_file(form, "image[]")) == (image, b"m", None)
    assert fields_of(form, {"image", "mask"}) == {"steps": "2"}


async def test_a_part_in_base64_is_decoded_or_refused_and_never_taken_for_a_picture() -> None:
    words = 'name="image"; filename="a"\r\nContent-Transfer-Encoding: base64'
    assert one_file(await form_of(request(parts((words, TEXT.encode())), kind=FORM)), "image") == DATA
    with pytest.raises(Malformed, match="Content-Transfer-Encoding cannot be undone"):  # findings/form_parts_in_base64.sh
        await form_of(request(parts((words, base64.encodebytes(bytes(100)))), kind=FORM))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (parts(*[(f'name="f{index}"', b"x") for index in range(33)]), "at most 4 files and 32 fields"),
        (parts(*[('name="image"', b"x")] * 5), "at most 4 files and 32 fields"),
        (parts(('name="task"', b"x" * 70_000)), "over 65536 bytes"),
        (parts(('filename="a"', b"x")), "the multipart body cannot be read"),
        (b"no form", "the multipart body cannot be read"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        await form_of(request(body, kind=FORM))


async def test_a_form_says_each_thing_once_and_files_are_pictures() -> None:
    twice = await form_of(request(parts(('name="steps"', b"1"), ('name="steps"', b"2"), *[('name="image"', b"x")] * 2), kind=FORM))
    with pytest.raises(Malformed, match="`steps` came 2 times"):
        fields_of(twice, {"image"})
    with pytest.raises(Malformed, match="`image` came 2 times"):
        one_file(twice, "image")
    file = await form_of(request(parts(('name="task"; filename="a"', b"x")), kind=FORM))
    with pytest.raises(InvalidValue, match="`task` is a file; expected `image` or `mask`"):
        fields_of(file, {"image", "mask"})
