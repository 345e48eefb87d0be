"""What callers send by mistake or malice: each case has its expected status, and the service answers after it.

`python -m tests.service.test_must_survive > docs/must-survive.md` writes the table; a test holds it to what is tested.
"""

import base64
import gzip
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.service import hostile
from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.live import Live, live, status_of
from tests.service.test_pictures import with_exif

PNG = file_of(pixels_of(24, 40))
JPEG = file_of(pixels_of(64, 64), "JPEG")
LARGE = file_of(pixels_of(400, 500))
MEBIBYTE = 1 << 20
GONE = 0  # no answer is expected: the caller is not there any more


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    send: Callable[[Live], int]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for(
        tmp_path_factory.mktemp("jobs"),
        port=0,
        max_body_bytes=2 * MEBIBYTE,
        max_clip_bytes=2 * MEBIBYTE,
        body_timeout_seconds=4,
        idle_timeout_seconds=1.5,
        codec_seconds=8,
        max_megapixel_steps=2.0,
    )
    with live(settings) as server:
        yield server


def answered(response: Any) -> int:
    """The status, after making sure that an error is a problem with an id and says nothing that it should not."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["request_id"] == response.headers["x-request-id"]
        assert len(problem["detail"]) > 10
        assert str(ROOT) not in response.text
        assert "Traceback" not in response.text
    return int(response.status_code)


def post(path: str, status: int, name: str = "", **request: Any) -> Case:
    return Case(name or path, status, lambda server: answered(server.client.post(path, **request)))


def picture(name: str, data: bytes, status: int, query: str = "", **headers: str) -> Case:
    return Case(name, status, lambda server: answered(server.client.post(f"/restore{query}", content=data, headers=headers)))


def json_case(name: str, text: str | bytes, status: int, path: str = "/restore") -> Case:
    headers = {"content-type": "application/json"}
    return Case(name, status, lambda server: answered(server.client.post(path, content=text, headers=headers)))


def wire(name: str, status: int, *pieces: bytes, **how: Any) -> Case:
    return Case(name, status, lambda server: status_of(server.raw(*pieces, **how)))


def gone(name: str, *pieces: bytes, read: int = 0) -> Case:
    def hang_up(server: Live) -> int:
        server.hang_up(*pieces, read=read)
        return GONE

    return Case(name, GONE, hang_up)


def head(path: str = "/restore", length: int | str = len(PNG), *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: image/png", f"Content-Length: {length}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


CHUNKED = b"POST /restore HTTP/1.1\r\nHost: gateway\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"


def truncated() -> list[Case]:
    kinds = {kind: file_of(pixels_of(64, 64), kind) for kind in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF")}
    return [
        picture(f"{kind} truncated at {tenth}0 %", data[: len(data) * tenth // 10], 400)
        for kind, data in kinds.items()
        for tenth in range(1, 10)
        if not (kind == "TIFF" and tenth == 9)
    ]


def phones() -> dict[str, bytes]:
    """JPEG XL and HEIC files, deep and turned."""
    names = ("jxl, 16 bits, P3 by ICC, orientation 6", "heic, 12 bits, P3 by CICP, orientation 6, alpha")
    with tarfile.open(ROOT / "tests" / "fixtures" / "phones.tar.xz") as archive:
        files = {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}
    return {"JPEG XL of 16 bits": files[names[0]], "HEIC of 12 bits": files[names[1]]}


def from_phones() -> list[Case]:
    cases = []
    for kind, data in phones().items():
        cases += [picture(kind, data, 200), picture(f"{kind}, its last byte gone", data[:-1], 400)]
        cases += [picture(f"{kind} truncated at {tenth}0 %", data[: len(data) * tenth // 10], 400) for tenth in (1, 5, 9)]
    frames = np.stack([pixels_of(8, 8, seed=seed) for seed in range(3)])
    return [*cases, picture("animated JPEG XL", bytes(imagecodecs.jpegxl_encode(frames, lossless=True)), 413)]


def analysed(name: str, data: bytes, status: int, **headers: str) -> Case:
    """To the route that says what is wrong with a picture."""
    return post("/analyse", status, f"analyse: {name}", content=data, headers=headers)


def clip(name: str, data: bytes, status: int, query: str = "", **headers: str) -> Case:
    return post(f"/restore/video{query}", status, f"a clip: {name}", content=data, headers=headers)


MATROSKA = b"\x1aE\xdf\xa3" + b"\x01" + b"\xff" * 7  # an EBML header whose length is unknown
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp41"


def encoded(**members: Any) -> str:
    return json.dumps({"image": base64.b64encode(PNG).decode(), **members})


def unnamed(disposition: bytes, content: bytes = PNG) -> dict[str, Any]:
    """A multipart body of one part without a file name."""
    head = b"--XbX\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n"
    headers = {"content-type": "multipart/form-data; boundary=XbX"}
    return {"content": head + content + b"\r\n--XbX--\r\n", "headers": headers}


BODIES = [
    picture("empty body", b"", 400),
    post("/restore", 400, "missing part", files={"mask": ("m.png", PNG)}),
    post("/restore", 422, "unknown part", files={"image": ("a.png", PNG), "extra": ("b", b"x")}),
    post("/restore", 400, "two files", files=[("image", ("a.png", PNG)), ("image", ("b.png", PNG))]),
    post("/restore", 400, "a field where a file should be", data={"image": "words"}, files={"mask": ("m", b"")}),
    post("/restore", 400, "0 bytes", files={"image": ("a.png", b"")}),
    post("/restore", 200, "a file name with a path and quotes", files={"image": ("../../etc/passwd\"';.png", PNG)}),
    post("/restore", 400, "too many fields", files={"image": ("a", PNG)}, data={f"f{i}": "x" for i in range(100)}),
    Case(
        "a picture's part without a file name",
        200,
        lambda server: answered(server.client.post("/restore", **unnamed(b'name="image"\r\nContent-Type: image/png'))),
    ),
    Case(
        "a part of 100 KB that is no picture",
        400,
        lambda server: answered(server.client.post("/restore", **unnamed(b'name="task"', b"a" * 100_000))),
    ),
    picture("multipart without a boundary", b"--x\r\n\r\n--x--", 400, **{"content-type": "multipart/form-data"}),
    picture("multipart with another boundary", b"--x\r\n\r\n--x--", 400, **{"content-type": "multipart/form-data; boundary=y"}),
    picture(
        "multipart with an unknown charset", b"--y--", 400, **{"content-type": "multipart/form-data; boundary=y; charset=nope"}
    ),
    picture("text as PNG", b"this is no picture at all", 415, **{"content-type": "image/png"}),
    picture("a body of another kind", b"a,b\n1,2", 415, **{"content-type": "text/csv"}),
    picture("JPEG called PNG", JPEG, 200, **{"content-type": "image/png"}),
    picture("over the bytes, by its length", b"\x89PNG\r\n\x1a\n" + b"\0" * (2 * MEBIBYTE), 413),
    wire("over the bytes, in chunks", 413, CHUNKED, *[b"80000\r\n" + b"\0" * 0x80000 + b"\r\n"] * 5, b"0\r\n\r\n"),
    picture("gzip body bomb", gzip.compress(b"\0" * MEBIBYTE), 415, **{"content-encoding": "gzip"}),
    wire("1-byte chunks", 200, CHUNKED, b"".join(b"1\r\n%c\r\n" % byte for byte in PNG) + b"0\r\n\r\n"),
    wire("slow sender", 408, head(), PNG[:10], *[PNG[i : i + 1] for i in range(10, 24)], pause=0.4),
    wire("a sender that stops", 408, head(), PNG[:100], pause=0.1),
    wire("Content-Length too long, then the end", GONE, head(length=len(PNG) + 100), PNG, half_close=True),
    wire("Content-Length too short", 400, head(length=len(PNG) - 100), PNG),
    wire("Content-Length of letters", 400, head(length="many")),
    wire("negative Content-Length", 400, head(length=-1)),
    wire("two Content-Lengths", 400, head("/restore", len(PNG), "Content-Length: 5"), PNG),
]

PICTURES = [
    *truncated(),
    *(
        picture(f"{w}x{h}", file_of(pixels_of(h, w)), 200)
        for w, h in [(1, 1), (1, 7), (7, 1), (2, 3), (3, 3), (257, 255), (8191, 1)]
    ),
    picture("one pixel too wide", file_of(pixels_of(1, 8192)), 413),
    picture("too many pixels", file_of(pixels_of(513, 512)), 413),
    *(picture(f"mode {mode} as {kind}", hostile.in_mode(mode, kind), status) for mode, kind, status in hostile.MODES),
    picture("YCCK JPEG", hostile.ycck(), 200),
    *(
        picture(
            f"{w}x{h} with alpha, as JPEG", file_of(np.dstack([pixels_of(h, w), np.zeros((h, w), np.uint8)])), 200, "?format=jpeg"
        )
        for w, h in [(1, 1), (5, 1), (1, 5)]
    ),
    picture("alpha all 0", file_of(np.dstack([pixels_of(8, 8), np.zeros((8, 8), np.uint8)])), 200),
    *(picture(f"EXIF orientation {turn}", hostile.turned(turn), 200) for turn in range(1, 9)),
    picture("EXIF orientation 9", hostile.turned(9), 200),
    picture("broken EXIF", file_of(pixels_of(8, 8), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), 200),
    picture("EXIF with places", with_exif(), 200),
    picture("64 KB of EXIF", file_of(pixels_of(8, 8), "JPEG", exif=b"Exif\0\0" + b"x" * 65_500), 200),
    picture("50,000 x 50,000 PNG", hostile.huge_png(), 413),
    picture("PNG of 2^31-1 x 1", hostile.huge_png(2**31 - 1, 1), 413),
    picture("PNG of 0 x 8", hostile.huge_png(0, 8), 400),
    picture("an ICC profile of garbage", file_of(pixels_of(8, 8), icc_profile=b"garbage" * 100), 200),
    picture("an ICC profile of 1.5 MB", file_of(pixels_of(8, 8), "JPEG", icc_profile=b"x" * 1_500_000), 200),
    picture("a CMYK profile in RGB", file_of(pixels_of(8, 8), icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 200), 200),
    picture("zlib text-chunk bomb", hostile.text_bomb(), 200),
    picture("zlib profile bomb", hostile.profile_bomb(), 200),
    picture("HEIC without its content", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, 400),
    picture("JPEG XL without its content", b"\xff\x0a\xff", 400),
    picture("big-endian BigTIFF without a directory", b"MM\0+" + b"\0" * 64, 400),
    picture("a camera raw file", b"FUJIFILMCCD-RAW 0201" + b"\0" * 64, 415),
    picture("a wrong checksum of the pixels", hostile.spoiled(file_of(pixels_of(8, 8)), b"IDAT"), 400),
    picture("a wrong checksum of a text", hostile.spoiled(hostile.with_text(9), b"tEXt"), 200),
    picture("colours that cannot be shown", hostile.with_chunk(b"cICP", bytes([9, 17, 0, 1])), 415),
    picture("a gamma of 0", hostile.with_chunk(b"gAMA", bytes(4)), 200),
    picture("primaries in a line", hostile.with_chunk(b"cHRM", bytes(32)), 200),
    picture("a long comment", hostile.with_text(100_000), 200),
    picture("APNG of 10,000 frames", hostile.apng(), 413),
    picture("animated WebP", hostile.animated("WEBP"), 413),
    picture("animated AVIF", hostile.animated("AVIF", 3), 413),
    picture("animated GIF", hostile.animated("GIF"), 415),
    picture("TIFF of two pages", hostile.animated("TIFF", 2), 413),
    picture("TIFF whose directory is its own next", hostile.grey_tiff(8, 8, 8), 200),
    picture("TIFF whose directories are a ring", hostile.ring_of_tiff(), 413),
    picture("TIFF of 2^31 x 2^31", hostile.grey_tiff(2**31, 2**31), 413),
    picture("TIFF without its data", hostile.grey_tiff(100, 100)[:-40], 400),
    picture("JPEG of thousands of scans", hostile.many_scans(), 413),
    *(picture(f"{kind} is not read", data, 415) for kind, data in hostile.OTHER_KINDS.items()),
]

ANALYSES = [
    analysed("a picture", PNG, 200),
    analysed("a picture as JSON", encoded().encode(), 200, **{"content-type": "application/json"}),
    analysed("nothing", b"", 400),
    analysed("no picture", b"MZ" + b"\0" * 100, 415),
    analysed("a picture cut short", PNG[:60], 400),
    analysed("a decompression bomb", hostile.huge_png(), 413),
    analysed("JSON that ends early", b'{"image": "', 400, **{"content-type": "application/json"}),
    post("/analyse?sharpen=1", 422, content=PNG),
    post("/analyse?task=auto", 422, content=PNG),
    post("/analyse", 422, "analyse: a field of a form that restores", files={"image": PNG}, data={"strength": "0.5"}),
    analysed("JSON with steps", encoded(steps=2).encode(), 422, **{"content-type": "application/json"}),
    picture("task=auto and another", PNG, 422, "?task=auto,lowlight"),
]

CLIPS = [
    clip("nothing", b"", 400),
    clip("a picture", PNG, 415),
    clip("text", b"hello " * 50, 415),
    clip("an MP4 that ends behind its first box", MP4, 400),
    clip("an MP4 whose box is longer than the file", MP4 + b"\x7f\xff\xff\xffmoov", 415),
    clip("a Matroska file of nothing", MATROSKA, 400),
    clip("JSON", encoded().encode(), 415, **{"content-type": "application/json"}),
    clip("frames of a negative second", MP4, 422, "?start=-1"),
    clip("a parameter that is not there", MP4, 422, "?stepz=2"),
    clip("over the limit", MP4 + b"\0" * (3 * MEBIBYTE), 413),
]

JSON_CASES = [
    json_case("a data: prefix", json.dumps({"image": "data:image/png;base64," + base64.b64encode(PNG).decode()}), 200),
    json_case("base64 in lines of 76", json.dumps({"image": base64.encodebytes(PNG).decode()}), 200),
    json_case(
        "a data: URL with a charset",
        json.dumps({"image": f"data:image/png;charset=utf-8;base64,{base64.b64encode(PNG).decode()}"}),
        200,
    ),
    json_case(
        "null for all that is not set", encoded(**dict.fromkeys(("seed", "steps", "mask", "return", "metadata", "lossless"))), 200
    ),
    json_case("null for an unknown member", encoded(sharpen=None), 422),
    json_case("a data: URL of another kind", json.dumps({"image": "data:text/html;base64,PGI+"}), 400),
    json_case("base64 with bad padding", json.dumps({"image": base64.b64encode(PNG).decode()[:-3]}), 400),
    json_case("base64 with foreign letters", json.dumps({"image": "!!!!"}), 400),
    json_case("base64 over the limit", json.dumps({"image": "A" * (2 * MEBIBYTE)}), 413),
    json_case("empty base64", json.dumps({"image": ""}), 422),
    json_case("JSON depth", "[" * 200_000, 400),
    json_case("deep objects", '{"a":' * 100_000, 400),
    json_case("NaN", encoded().replace("}", ', "steps": NaN}'), 400),
    json_case("Infinity", encoded().replace("}", ', "seed": Infinity}'), 400),
    json_case("duplicate keys", encoded().replace("}", ', "steps": 1, "steps": 2}'), 400),
    json_case("huge integers", encoded().replace("}", ', "seed": ' + "9" * 5000 + "}"), 400),
    json_case("an integer over its range", encoded(seed=2**64), 422),
    json_case("an array", "[1, 2]", 400),
    json_case("null", "null", 400),
    json_case("not UTF-8", b'{"image": "\xff\xfe"}', 400),
    json_case("a lone surrogate", '{"image": "\\ud800"}', 422),
    json_case("no image", "{}", 422),
    json_case("an image of the wrong type", '{"image": 5}', 422),
    json_case("an unknown member", encoded(sharpen=True), 422),
    json_case("steps of 2.0", encoded(steps=2.0), 422),
    json_case("steps of true", encoded(steps=True), 422),
    json_case("in the query and in the body", encoded(steps=2), 422, "/restore?steps=2"),
    json_case("a mask where none is taken", encoded(mask=base64.b64encode(PNG).decode()), 422),
    json_case("generate with n of 1e9", '{"n": 1000000000}', 422, "/generate"),
    json_case("generate with a list", "[]", 400, "/generate"),
]

VALUES = [
    *(
        picture(f"steps={value!r}", PNG, 422, f"?steps={value}")
        for value in ("-1", "0", "1e9", "1000000000", "2.0", "NaN", "", "%00", "١")
    ),
    *(picture(f"seed={value}", PNG, 422, f"?seed={value}") for value in (-1, 2**63, 2**64, "0x10")),
    picture("seed=2^63-1", PNG, 200, f"?seed={2**63 - 1}"),
    picture("steps over the model's", PNG, 422, "?steps=11"),
    *(post(f"/generate?n={value}", 422) for value in ("1000000000", "0", "-1", "1e9", "17")),
    post(f"/generate?n=2&seed={2**63 - 1}", 422),
    *(
        picture(query, PNG, 422, query)
        for query in ("?stepz=2", "?steps=2&x[]=1", "?format=gif", "?return=all", "?metadata=some", "?max_latency_ms=0")
    ),
    *(
        picture(query, PNG, 422, query)
        for query in (
            "?strength=1.5",
            "?strength=NaN",
            "?brightness=9",
            "?quality=0",
            "?quality=101",
            "?brightness=1&brightness_mean=0.3",
            "?task=keeper&brightness=1",
            "?task=keeper,,keeper",
            "?task=keeper,lowlight&return=steps",
        )
    ),
    picture("two tasks, a strength and a brightness", PNG, 200, "?task=keeper,lowlight&strength=0.5&brightness=-1"),
    picture("a thousand tasks", PNG, 422, "?task=" + "keeper," * 1_000 + "keeper"),
    picture("a value twice in the query", PNG, 422, "?steps=2&steps=3"),
    picture("a deadline that cannot be met", file_of(pixels_of(400, 400)), 504, "?steps=2&max_latency_ms=1"),  # 81 tiles a step
    *(picture(query, PNG, 404, query) for query in ("?task=../../etc", "?task=%00", "?task=emoji", "?task=lowlight%0d%0aX:1")),
    picture("a task of 10,000 letters", PNG, 422, "?task=" + "a" * 10_000),
    post("/generate?model=lowlight", 404),
    picture("megapixel-steps over the limit", file_of(pixels_of(500, 500)), 413, "?steps=10"),
    picture("an Accept of nothing that is made here", PNG, 406, accept="application/pdf"),
    picture("an Accept that refuses the picture's own format", PNG, 200, accept="image/*, image/png;q=0"),
    picture("an Accept that refuses the only one it names", PNG, 406, accept="image/png;q=0"),
    picture("a prefix that leads to another host", PNG, 200, **{"x-forwarded-prefix": "//evil.example"}),
    picture("an Accept of nonsense", PNG, 406, accept=";;;,q=;/"),
    post("/generate?n=2", 406, "two pictures as image/png", headers={"accept": "image/png"}),
    picture("an Idempotency-Key of 300 letters", PNG, 422, **{"prefer": "respond-async", "idempotency-key": "k" * 300}),
    picture("a webhook without a job", PNG, 422, "?webhook=https://example.com/"),
]

HEADERS = [
    wire("a header with CR/LF in it", 400, head("/restore", len(PNG), "X-Bad: a\rb"), PNG),
    wire("a header with a null", 400, head("/restore", len(PNG), "X-Bad: a\0b"), PNG),
    wire("100 KB header", 431, head("/restore", len(PNG), "X-Long: " + "a" * 100_000), PNG),
    wire("a header that goes on after its refusal", 431, head()[:-4] + b"\r\nX: " + b"a" * 50_000, b"a" * 50_000, b"a", pause=0.1),
    wire("1000 headers", 431, head("/restore", len(PNG), *(f"X-{i}: a" for i in range(1000))), PNG),
    wire("a request line of 100 KB", 431, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n"),
    wire("no HTTP", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n"),
    wire("no Host", 400, b"GET /healthz HTTP/1.1\r\n\r\n"),
    wire("two Hosts", 400, b"GET /healthz HTTP/1.1\r\nHost: g\r\nHost: h\r\n\r\n"),
    wire("no Host in HTTP/1.0", 200, b"GET /healthz HTTP/1.0\r\n\r\n"),
    wire("both lengths", 400, CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n", b"0\r\n\r\n"),
    wire("a chunk whose extension does not end", 400, CHUNKED, b"1;" + b"a" * 50_000, b"a" * 50_000, pause=0.1),
    wire("a trailer that does not end", 400, CHUNKED, b"1\r\na\r\n0\r\nX: ", b"a" * 50_000, b"a" * 50_000, pause=0.1),
    wire("an upgrade that is not offered", 200, head("/restore", len(PNG), "Connection: Upgrade", "Upgrade: h2c") + PNG),
    wire("an X-Request-Id that could break a log", 200, b'GET /healthz HTTP/1.1\r\nHost: g\r\nX-Request-Id: "}{\x7f\r\n\r\n'),
]

PLACES = [
    Case("nothing there", 404, lambda server: answered(server.client.get("/nothing"))),
    Case("another method", 405, lambda server: answered(server.client.get("/restore"))),
    Case("out of the page's folder", 404, lambda server: answered(server.client.get("/static/%2e%2e/settings.py"))),
    Case("a job that is not there", 404, lambda server: answered(server.client.get("/jobs/0"))),
    Case(
        "a Last-Event-ID of words",
        422,
        lambda server: answered(server.client.get("/jobs/0/events", headers={"last-event-id": "x"})),
    ),
    Case("a result that is not there", 404, lambda server: answered(server.client.get("/results/..%2f..%2fetc"))),
    Case("a model that is not there", 404, lambda server: answered(server.client.get("/models/%00"))),
    Case(
        "unload from another page",
        403,
        lambda server: answered(server.client.post("/admin/models/keeper/unload", headers={"origin": "http://evil"})),
    ),
    Case("load of what is not there", 404, lambda server: answered(server.client.post("/admin/models/nothing/load"))),
]

DEPARTURES = [
    gone("gone in the request line", b"POST /rest"),
    gone("gone in the headers", head()[:40]),
    gone("gone before the body", head()),
    gone("gone within the body", head(), PNG[:100]),
    gone("gone while it is sampled", head("/restore?steps=9&seed=77"), PNG),
    gone("gone while steps are streamed", head("/restore?steps=9&seed=78", len(PNG), "Accept: text/event-stream"), PNG),
    gone("gone in a chunk", CHUNKED, b"10\r\nabc"),
    gone("gone while the answer is sent", head("/restore?format=tiff", len(LARGE)), LARGE, read=100),
]

ALL = [*BODIES, *PICTURES, *from_phones(), *ANALYSES, *CLIPS, *JSON_CASES, *VALUES, *HEADERS, *PLACES, *DEPARTURES]


@pytest.mark.parametrize("case", ALL, ids=[f"{case.name} -> {case.status or 'no answer'}" for case in ALL])
def test_the_case_has_its_status_and_the_service_answers_after_it(server: Live, case: Case) -> None:
    server.engine.seconds = 0.1 if case.name.startswith("gone while") else 0.0
    assert case.send(server) in (
        {400, 431} if case.status == 431 else {case.status}
    )  # the parser says 400 where a head comes in pieces
    server.engine.seconds = 0.0
    assert server.client.post("/restore?seed=1", content=PNG).status_code == 200
    assert not any(server.idle().values())


ELSEWHERE = [  # case, status, where it is tested
    ("no key, or one that is not known", "401", "test_keys.py::test_without_a_known_key_nothing_is_done"),
    (
        "a key's quota is spent; others go on",
        "429",
        "test_keys.py::test_a_spent_quota_is_429_with_the_time_to_wait_and_others_go_on",
    ),
    (
        "another request with the same Idempotency-Key",
        "409",
        "jobs/test_queue.py::test_the_same_idempotency_key_is_the_same_job_and_another_request_is_refused",
    ),
    (
        "everything that the OpenAPI document allows or forbids",
        "as described",
        "api/test_openapi.py::test_every_operation_answers_as_it_is_described",
    ),
    (
        "every TIFF of grey, RGB, CMYK, alpha, 8 and 16 bits",
        "200",
        "pictures/files/test_tiff.py::test_every_tiff_of_whole_samples_shows_the_same_picture",
    ),
    (
        "samples that would be cut: float, 32 bits, 12-bit JPEG",
        "415",
        "test_pictures.py::test_what_would_be_cut_is_refused_in_words",
    ),
    ("EXIF of any format, 8 and 16 bits, into a TIFF", "200", "pictures/test_cases.py::test_exif_comes_along_into_a_tiff"),
    (
        "camera raw files: DNG, NEF, CR2, CR3, RAF, RW2",
        "415",
        "pictures/test_cases.py::test_a_camera_raw_file_is_called_by_its_name",
    ),
    (
        "a profile of which no way leads back",
        "200",
        "pictures/test_cases.py::test_a_profile_of_which_no_way_leads_back_is_answered_in_srgb",
    ),
    (
        "colours by code points: P3, BT.2020, PQ, HLG",
        "200",
        "pictures/test_cases.py::test_colours_by_code_points_are_what_they_say",
    ),
    ("colours by a gamma and primaries", "200", "pictures/test_cases.py::test_a_gamma_is_obeyed"),
    ("an editor's hidden layers", "200, without them", "pictures/test_cases.py::test_an_editors_layers_are_in_no_answer"),
    (
        "thumbnails and pyramids beside a TIFF's picture",
        "200",
        "pictures/test_cases.py::test_reduced_versions_beside_a_picture_are_no_pages",
    ),
    ("bytes that look like scans outside of them", "200", "pictures/test_cases.py::test_only_scans_are_counted_as_scans"),
    (
        "a gain map, a motion photo's video",
        "200, kept or said to be gone",
        "pictures/test_cases.py::test_a_gain_map_that_cannot_stay_is_said_to_be_gone",
    ),
    (
        "an orientation that viewers do not obey",
        "200, not turned",
        "pictures/test_cases.py::test_an_orientation_that_viewers_do_not_obey_is_none",
    ),
    ("places in XMP of any encoding, GeoTIFF", "200, without them", "pictures/test_cases.py::test_xmp_keeps_everything_but_places"),
    (
        "the queue at its limit and over; a burst of 10x",
        "200 or 429",
        "test_faults.py::test_over_the_queue_is_429_with_a_time_to_wait",
    ),
    ("256 px beside 4K", "200", "scheduling/test_scheduler.py::test_a_small_picture_does_not_wait_behind_a_large_one"),
    ("one caller floods", "200", "scheduling/test_scheduler.py::test_a_flood_of_one_caller_does_not_starve_another"),
    ("all callers cancel", "no answer", "test_faults.py::test_all_callers_leave_and_nothing_is_held"),
    (
        "one Idempotency-Key twice at once",
        "one job",
        "jobs/test_queue.py::test_the_same_idempotency_key_twice_at_once_is_one_job",
    ),
    (
        "jobs whose quota is spent; others' jobs go on",
        "200",
        "jobs/test_queue.py::test_a_job_that_waits_for_its_quota_leaves_its_place_to_others",
    ),
    (
        "the same request twice at once",
        "200",
        "test_faults.py::test_the_same_request_twice_at_once_is_computed_once_with_the_same_bytes",
    ),
    (
        "alone and in a full batch: the same bytes",
        "200",
        "scheduling/test_scheduler.py::test_alone_equals_batched_byte_for_byte_over_random_mixes",
    ),
    (
        "the engine is gone, full, out of memory, late, or answers NaN",
        "500, 503, 504",
        "test_faults.py::test_what_the_engine_does_wrong_is_a_problem_and_leaves_nothing",
    ),
    (
        "the engine fails while steps are streamed",
        "an error event",
        "test_faults.py::test_a_fault_while_steps_are_streamed_is_an_error_event",
    ),
    (
        "a picture that takes its reader too long",
        "413",
        "test_faults.py::test_a_picture_that_takes_its_reader_too_long_is_refused_and_the_reader_replaced",
    ),
    (
        "a reader of pictures that died while it had nothing to do",
        "200",
        "pictures/test_pool.py::test_a_worker_that_died_while_it_had_nothing_to_do_is_no_pictures_fault",
    ),
    (
        "one caller's many slow files, another's small one",
        "200",
        "pictures/workers/test_fair_pool.py::test_a_caller_with_one_request_does_not_wait_for_all_of_anothers",
    ),
    (
        "a deadline that passes before the picture is read",
        "504",
        "test_pictures_over_http.py::test_a_deadline_ends_the_wait_for_a_codec_process",
    ),
    (
        "the same picture again and again while the first is worked on",
        "200, over the memory for pictures 429",
        "test_pictures_over_http.py::test_pictures_that_wait_for_the_same_result_count_as_memory",
    ),
    (
        "a picture that needs too much memory",
        "413",
        "pictures/test_pool.py::test_a_picture_that_needs_more_memory_than_it_may_have_is_refused_and_the_next_is_read",
    ),
    (
        "another model is loaded, and its batch sizes are proven",
        "200",
        "scheduling/test_learning.py::test_a_request_ends_the_proofs_call_and_does_not_wait_for_it",
    ),
    (
        "a model unloaded, and loaded again",
        "404, 200",
        "test_faults.py::test_a_model_that_is_taken_away_is_404_and_one_reloaded_goes_on",
    ),
    ("disk full", "503 for jobs, 200", "test_faults.py::test_jobs_are_503_while_the_disk_is_full_and_pictures_go_on"),
    ("read-only file system", "200", "test_faults.py::test_a_job_file_that_cannot_be_used_is_an_error_only_where_it_was_named"),
    ("SIGTERM while sampling", "200; new work 503", "test_faults.py::test_sigterm_finishes_what_runs_and_turns_new_work_away"),
    ("SIGKILL of the gateway: jobs go on after it", "200", "jobs/test_queue.py::test_jobs_survive_a_restart"),
    (
        "Triton killed behind a running gateway, and back",
        "503, 200",
        "../test_triton_behind_gateway.py::test_the_gateway_tells_what_is_wrong_and_heals",
    ),
    ("Triton down at the start", "503, 200", "engines/triton/test_faults.py::test_down_at_the_start"),
    (
        "Triton restarted, shared memory lost",
        "200",
        "engines/triton/test_faults.py::test_restarted_between_two_calls_without_anybody_noticing",
    ),
    (
        "Triton killed mid-step, another server lives",
        "200",
        "engines/triton/test_faults.py::test_a_server_that_dies_mid_request_is_replaced_from_the_step_it_was_at",
    ),
    (
        "a Triton's address leaves the DNS while it works",
        "200",
        "engines/triton/test_leaving.py::test_a_server_that_leaves_answers_first",
    ),
    ("Triton stopped (SIGSTOP)", "503", "engines/triton/test_faults.py::test_stopped"),
    (
        "Triton returns NaN or a wrong shape",
        "500 or 503",
        "engines/triton/test_faults.py::test_a_server_that_begins_to_answer_wrongly",
    ),
    (
        "Triton's backend process crashes",
        "503, 200",
        "engines/triton/test_faults.py::test_a_crashed_backend_process_is_brought_back",
    ),
    (
        "Triton says UNAVAILABLE, DEADLINE_EXCEEDED and the like",
        "503, 504, 429",
        "engines/triton/test_errors.py::test_no_code_of_grpc_is_unmapped",
    ),
    (
        "a model corrupt on disk",
        "the others serve",
        "engines/triton/test_faults.py::test_a_corrupt_model_leaves_the_others_serving",
    ),
    (
        "a model reloaded mid-request",
        "200",
        "engines/triton/test_faults.py::test_a_request_finishes_on_its_version_while_a_new_one_takes_over",
    ),
    (
        "a version exported anew under its number, reloaded mid-request",
        "200",
        "engines/embedded/test_engine.py::test_a_version_exported_anew_between_two_steps_is_for_later_requests",
    ),
    (
        "the same on Triton, which keeps one file per number",
        "503",
        "engines/triton/test_faults.py::test_a_version_exported_anew_answers_no_request_of_the_old_one",
    ),
    ("two gateways on one Triton", "200", "engines/triton/test_engine.py::test_two_gateways_share_a_server"),
]


def table() -> str:
    """The document of all cases."""
    rows = [f"| {case.name} | {case.status or 'no answer'} | |" for case in ALL]
    rows += [f"| {name} | {status} | `{place}` |" for name, status, place in ELSEWHERE]
    head = [
        "# What the service survives",
        "",
        f"{len(ALL)} cases of `tests/service/test_must_survive.py`, sent to a gateway on a real socket: each has the status below,",
        "and after each the gateway answers a good request with 200 and holds nothing any more. Then those that other tests show.",
        "",
        "| case | status | test, if another |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *(row.replace("\0", "%00") for row in rows)]) + "\n"


def test_the_document_tells_of_every_case(root: Path) -> None:
    assert root.joinpath("docs", "must-survive.md").read_text(encoding="utf-8") == table()


@pytest.mark.parametrize("place", [place for _, _, place in ELSEWHERE])
def test_what_the_document_names_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"def {name}" in Path(__file__).parent.joinpath(file).read_text(encoding="utf-8")


def test_no_case_is_there_twice() -> None:
    names = [case.name for case in ALL]
    assert sorted(set(names)) == sorted(names)


def test_the_table_has_every_status_that_a_caller_can_cause() -> None:
    assert {case.status for case in ALL} >= {200, 400, 403, 404, 405, 406, 408, 413, 415, 422, 431, 504}


if __name__ == "__main__":
    print(table(), end="")
