"""Requests -> parameters and picture bytes: the query, and a form, a raw picture, or JSON. No body ever touches the disk.

The query and the headers are read here and not by FastAPI, which takes half a millisecond for them.
"""

import asyncio
import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from python_multipart.exceptions import DecodeError, FormParserError
from python_multipart.multipart import Field as TextPart
from python_multipart.multipart import File, FormParser, parse_options_header
from starlette.requests import Request

from service.errors import InvalidValue, Malformed, UnsupportedMedia
from service.references import References
from service.restoration.parameters import AnalyseBody, AnalyseParameters, RestoreBody, RestoreParameters

O = TypeVar("O", bound=BaseModel)  # noqa: E741
MOST_FIELDS = 32
MOST_FIELD_BYTES = 64 * 1024
MOST_FILES = 4
LARGE_BODY = 256 * 1024
DATA_URL = re.compile(r"data:(image/|application/octet-stream|[;,])[^,]{0,200}?;?base64,", re.IGNORECASE)
BLANKS = str.maketrans("", "", " \t\r\n\f")
URL_SAFE = str.maketrans("-_", "+/")
PICTURE_PARTS = frozenset({"image", "image[]", "mask"})
BROKEN_FORM = "the multipart body cannot be read; expected parts between the boundary that Content-Type names"
IN_MEMORY = {"MAX_MEMORY_FILE_SIZE": math.inf}
Form = dict[str, list[str | bytes]]  # the values that came by each name: a field's text, a file's bytes


class JobHeaders(BaseModel):
    """What the headers say of a job."""

    idempotency_key: str | None = Field(
        default=None,
        alias="idempotency-key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~ ]+$",
        description="sent again with the same request, it is the same job",
    )


def from_query(model: type[O], request: Request) -> O:
    """The query's members. Raises RequestValidationError, and InvalidValue for a name that is there twice."""
    members = request.query_params.multi_items()
    given = dict(members)
    if len(given) < len(members):
        [(name, times)] = Counter(name for name, _ in members).most_common(1)
        raise InvalidValue(f"{name[:60]!r} is in the query {times} times; expected it once")
    return _validated(model, given, "query")


def from_headers(model: type[O], request: Request) -> O:
    """The members of a model whose fields have headers' names, in small letters, as aliases. Raises RequestValidationError."""
    headers = request.headers
    names = (field.alias for field in model.model_fields.values() if field.alias is not None)
    return _validated(model, {name: headers[name] for name in names if name in headers}, "header")


def media_type(request: Request) -> str:
    """The body's media type in small letters, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_restore(
    request: Request, query: RestoreParameters, references: References
) -> tuple[RestoreParameters, bytes, bytes | None, str | None]:
    """The parameters, the picture file, its mask's, and the address that the result goes to instead of into the answer.

    Raises Malformed, UnsupportedMedia, InvalidValue, ReferenceFailed, and the middleware's errors.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        form = await form_of(request)
        parameters = validated(RestoreParameters, fields_of(form, PICTURE_PARTS - {"image[]"}), query)
        return parameters, _sent_picture(form), one_file(form, "mask"), None
    if kind == "application/json":
        body = validated(RestoreBody, await json_body(request), query)
        if body.output_url is not None:
            references.check(body.output_url, "output_url")
        image = await _picture(body.image, body.image_url, "image", references)
        assert image is not None
        mask = await _picture(body.mask, body.mask_url, "mask", references)
        return body.order(), image, mask, body.output_url
    return query, await _bare_picture(request), None, None


async def read_picture(request: Request, references: References) -> bytes:
    """The picture file of a request that says nothing else. Raises what `read_restore` does."""
    query, kind = from_query(AnalyseParameters, request), media_type(request)
    if kind == "multipart/form-data":
        form = await form_of(request)
        validated(AnalyseParameters, fields_of(form, {"image"}), query)
        return _sent_picture(form)
    if kind == "application/json":
        body = validated(AnalyseBody, await json_body(request), query)
        image = await _picture(body.image, body.image_url, "image", references)
        assert image is not None
        return image
    return await _bare_picture(request)


def _sent_picture(form: Form) -> bytes:
    """The part `image`. Raises Malformed."""
    image = one_file(form, "image")
    if image is None:
        raise Malformed("the part `image` is missing")
    return image


async def _bare_picture(request: Request) -> bytes:
    """The body, which is the picture file. Raises UnsupportedMedia."""
    kind = media_type(request)
    if kind.startswith("image/") or kind in {"application/octet-stream", ""}:
        return _not_empty(await request.body())
    expected = "multipart/form-data, image/*, application/octet-stream or application/json"
    raise UnsupportedMedia(f"a body of {kind[:80]!r} is not read here; expected {expected}")


async def _picture(text: str | None, address: str | None, name: str, references: References) -> bytes | None:
    """The bytes of a picture that is there as base64, or that an address names."""
    if address is not None:
        return _not_empty(await references.read(address, f"{name}_url"))
    return from_base64(text, name) if text else None


async def form_of(request: Request) -> Form:
    """A multipart form, in memory: the middleware bounds it, and the disk may be full or read-only.

    Raises Malformed, and UnsupportedMedia for another kind of body.
    """
    if media_type(request) != "multipart/form-data":
        raise UnsupportedMedia(f"a body of {media_type(request)[:80]!r} is not read here; expected multipart/form-data")
    form: Form = {}

    def add(part: File | TextPart) -> None:
        form.setdefault(_text(part.field_name or b""), []).append(_value_of(part))
        _check_parts(form)

    _, options = parse_options_header(request.headers["content-type"])
    try:
        if b"boundary" not in options:
            raise FormParserError("no boundary")
        parser = FormParser("multipart/form-data", add, add, boundary=options[b"boundary"], config=IN_MEMORY)
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except DecodeError as encoded:  # such as base64 in several lines
        raise Malformed("a part's Content-Transfer-Encoding cannot be undone; expected its bytes as they are") from encoded
    except FormParserError as broken:
        raise Malformed(BROKEN_FORM) from broken
    return form


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _value_of(part: File | TextPart) -> str | bytes:
    """A file's bytes, or a field's text. A picture is a file even if its part names none: RFC 7578, 4.2, requires no filename."""
    if isinstance(part, File):
        part.file_object.seek(0)
        return part.file_object.read()
    data = part.value or b""
    if _text(part.field_name or b"") in PICTURE_PARTS:
        return data
    if len(data) > MOST_FIELD_BYTES:
        raise Malformed(f"a part that is no picture has over {MOST_FIELD_BYTES} bytes; pictures are the parts `image` and `mask`")
    return _text(data)


def _check_parts(form: Form) -> None:
    """Raises Malformed for too many parts."""
    values = [value for several in form.values() for value in several]
    files = sum(isinstance(value, bytes) for value in values)
    if files > MOST_FILES or len(values) - files > MOST_FIELDS:
        raise Malformed(f"the form has too many parts; at most {MOST_FILES} files and {MOST_FIELDS} fields are allowed")


def fields_of(form: Form, files: Collection[str]) -> dict[str, Any]:
    """The form's fields but the files. Raises Malformed for one that came several times, InvalidValue for one that is a file."""
    fields = {name: values for name, values in form.items() if name not in files}
    for name, values in fields.items():
        if len(values) > 1:
            raise Malformed(f"the part `{name[:60]}` came {len(values)} times; expected one")
        if isinstance(values[0], bytes):
            raise InvalidValue(f"the part `{name[:60]}` is a file; expected {' or '.join(f'`{file}`' for file in sorted(files))}")
    return {name: values[0] for name, values in fields.items()}


def one_file(form: Form, name: str) -> bytes | None:
    """The bytes of the part with that name, or None. Raises Malformed if there are several, or none in it."""
    parts = form.get(name, [])
    if len(parts) > 1:
        raise Malformed(f"the part `{name}` came {len(parts)} times; expected one")
    if not parts:
        return None
    assert isinstance(parts[0], bytes)  # as all of PICTURE_PARTS are
    return _not_empty(parts[0])


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise Malformed("the picture has 0 bytes")
    return data


def from_base64(text: str, name: str) -> bytes:
    """Base64 or a data: URL with base64, as tools write it: in lines, without padding, in the alphabet of URLs, percent-encoded.

    As in WHATWG Infra, "forgiving-base64 decode". Raises Malformed.
    """
    prefix = DATA_URL.match(text[:300])
    if prefix is None and text[:5].lower() == "data:":
        raise Malformed(f"`{name}` is a data: URL of another kind; expected data:image/...;base64,")
    data = text[prefix.end() :] if prefix else text
    if prefix and "%" in data:
        data = unquote(data)
    try:
        return _not_empty(base64.b64decode(_padded(data.translate(BLANKS).translate(URL_SAFE)), validate=True))
    except (binascii.Error, ValueError) as broken:
        raise Malformed(f"`{name}` is not base64; expected its standard alphabet, or that of URLs") from broken


def _padded(text: str) -> str:
    """Four letters to each three bytes; a length that no bytes have stays wrong."""
    return text + "=" * (-len(text) % 4) if len(text) % 4 != 1 and "=" not in text else text


async def json_body(request: Request) -> dict[str, Any]:
    """A JSON object, strictly read: no NaN, no member twice, no endless depth. Raises Malformed."""
    if media_type(request) != "application/json":
        raise UnsupportedMedia(f"a body of {media_type(request)[:80]!r} is not read here; expected application/json")
    try:
        body = await request.body()
        value = await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)
    except (ValueError, RecursionError) as broken:
        reason = str(broken) if isinstance(broken, _Refused) else "not JSON, or too deep"
        raise Malformed(f"the body cannot be read: {reason}") from broken
    if not isinstance(value, dict):
        raise Malformed("the body is JSON but no object")
    return value


def _parse(body: bytes) -> Any:
    return json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)


class _Refused(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused("a member is there twice")
    return members


def _no_constant(name: str) -> float:
    raise _Refused(f"{name} is no number in JSON")


def validated(model: type[O], body: Mapping[str, Any], query: BaseModel | None = None) -> O:
    """The body's members, but those that are null, and the query's, together.

    Raises RequestValidationError, and InvalidValue for what came in both.
    """
    given = query.model_dump(exclude_unset=True, by_alias=True) if query is not None else {}
    said = {name: value for name, value in body.items() if value is not None or name not in _names_of(model)}
    twice = sorted(set(given) & set(said))
    if twice:
        raise InvalidValue(f"{twice[0]} is in the query and in the body; expected it in one of them")
    return _validated(model, {**given, **said}, "body")


def _names_of(model: type[BaseModel]) -> set[str]:
    """The members of which null says that they are not set."""
    return {field.alias or name for name, field in model.model_fields.items()}


def _validated(model: type[O], members: Mapping[str, Any], where: str) -> O:
    try:
        return model.model_validate(members)
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_context=False, include_input=True)
        raise RequestValidationError([{**error, "loc": (where, *error["loc"])} for error in errors]) from wrong
