"""Requests as clients, proxies and browsers make them: CORS on refusals, prefixes, Accept, null, base64, forms."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.api.negotiation import negotiate
from service.errors import NotAcceptable
from service.pictures.formats import FORMATS
from tests.service.conftest import RunningApp, file_of, pixels_of, running, settings_for

CASES = Path(__file__).parents[2] / "fixtures" / "cases"
PNG = file_of(pixels_of(24, 40))
JSON = {"content-type": "application/json"}
ORIGIN = "http://app.example"


def encoded(**members: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(PNG).decode(), **members}


@pytest.fixture
async def open_gateway(tmp_path: Path) -> AsyncIterator[RunningApp]:
    settings = settings_for(tmp_path, cors_origins=(ORIGIN,), max_body_bytes=200_000)
    async with running(settings) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (200, PNG, {}),
        (413, bytes(300_000), {}),
        (415, b"abc", {"content-encoding": "gzip"}),
        (415, b"a,b", {"content-type": "text/csv"}),
        (400, b"", {}),
        (431, b"", {f"x-{i}": "a" for i in range(300)}),
    ],
)
async def test_an_allowed_origin_may_read_every_answer(
    open_gateway: RunningApp, status: int, content: bytes, headers: dict[str, str]
) -> None:
    answer = await open_gateway.client.post("/restore", content=content, headers={"origin": ORIGIN, **headers})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-request-id"]


async def test_an_origin_that_is_not_allowed_may_read_no_refusal(open_gateway: RunningApp) -> None:
    answer = await open_gateway.client.post("/restore", content=bytes(300_000), headers={"origin": "http://evil.example"})
    assert answer.status_code == 413
    assert "access-control-allow-origin" not in answer.headers


async def test_a_body_refused_in_chunks_and_an_unforeseen_error_may_be_read_too(
    open_gateway: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(60_000)

    headers = {"origin": ORIGIN, "content-type": "image/png"}
    answer = await open_gateway.client.post("/restore", content=pieces(), headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, ORIGIN)
    monkeypatch.setattr(open_gateway.state.restoration, "check_restore", lambda *_: 1 / 0)
    answer = await open_gateway.client.post("/restore", content=PNG, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, ORIGIN)


async def test_a_preflight_is_answered_and_counted(open_gateway: RunningApp) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    answer = await open_gateway.client.options("/restore", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert answer.headers["x-request-id"]


PREFIXED = [  # root_path, what the proxy sends, the path that arrives: cut off by header, cut off, whole
    ("", {"x-forwarded-prefix": "/rddm"}, ""),
    ("/rddm", {}, ""),
    ("/rddm", {}, "/rddm"),
    ("", {"x-forwarded-prefix": "/rddm/"}, ""),
]


@pytest.fixture(params=PREFIXED, ids=["header", "setting, cut off", "setting, whole", "header with a slash"])
async def below_rddm(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[RunningApp, str]]:
    root_path, headers, arriving = request.param
    async with running(settings_for(tmp_path, root_path=root_path)) as gateway:
        gateway.client.headers.update(headers)
        yield gateway, arriving


async def test_links_stay_below_the_prefix(below_rddm: tuple[RunningApp, str]) -> None:
    gateway, base = below_rddm
    answer = await gateway.client.post(f"{base}/restore", content=PNG)
    assert answer.status_code == 200
    location = answer.headers["content-location"]
    assert location.startswith("/rddm/results/")
    again = await gateway.client.get(base + location.removeprefix("/rddm"))
    assert again.content == answer.content
    envelope = await gateway.client.post(f"{base}/restore", json=encoded())
    assert envelope.json()["location"] == envelope.headers["content-location"] == location
    several = await gateway.client.post(f"{base}/generate", json={"n": 2})
    assert all(image["location"].startswith("/rddm/results/") for image in several.json()["images"])


async def test_jobs_lead_back_below_the_prefix(below_rddm: tuple[RunningApp, str]) -> None:
    gateway, base = below_rddm
    headers = {"prefer": "respond-async"}
    submitted = await gateway.client.post(f"{base}/restore", json=encoded(), headers=headers)
    job = submitted.json()
    assert submitted.headers["location"] == job["links"]["self"] == f"/rddm/jobs/{job['id']}"
    events = await gateway.client.get(base + job["links"]["events"].removeprefix("/rddm"))
    assert f'"self":"/rddm/jobs/{job["id"]}"' in events.text
    result = await gateway.client.get(base + job["links"]["result"].removeprefix("/rddm"))
    assert result.json()["location"] == result.headers["content-location"]
    assert result.json()["location"].startswith("/rddm/results/")
    listed = await gateway.client.get(f"{base}/jobs")
    assert listed.json()["jobs"][0]["links"]["self"] == job["links"]["self"]


async def test_a_slash_at_the_end_and_the_page_do_not_lead_out_of_the_prefix(below_rddm: tuple[RunningApp, str]) -> None:
    gateway, base = below_rddm
    moved = await gateway.client.post(f"{base}/restore/", content=PNG)
    assert (moved.status_code, moved.headers["location"]) == (307, "/rddm/restore")
    assert (await gateway.client.get(f"{base}/docs/")).headers["location"] == "/rddm/docs"
    page = await gateway.client.get(f"{base}/")
    assert '<base href="/rddm/">' in page.text
    assert "base-uri 'self'" in page.headers["content-security-policy"]
    assert (await gateway.client.get(f"{base}/static/app.js")).status_code == 200
    document = await gateway.client.get(f"{base}/openapi.json")
    assert document.json()["servers"] == [{"url": "/rddm"}]
    refused = await gateway.client.post(f"{base}/v1/images/edits", json={})
    assert refused.json()["error"]["code"] == "unsupported-media"
    assert (await gateway.client.get(f"{base}/nothing")).status_code == 404


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "https://evil.example", '/a"b', "/a/../..//b", "/a?b", "rddm", "/" + "a" * 300]
)
async def test_a_prefix_that_is_no_path_is_none(gateway: RunningApp, prefix: str) -> None:
    answer = await gateway.client.post("/restore", content=PNG, headers={"x-forwarded-prefix": prefix})
    assert answer.status_code == 200
    assert answer.headers["content-location"].startswith("/results/")


async def test_a_redirect_names_no_host_which_a_proxy_may_have_changed(gateway: RunningApp) -> None:
    answer = await gateway.client.get("/models/", headers={"host": "inside:8000"})
    assert answer.headers["location"] == "/models"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/*, image/png;q=0", "image/webp"),
        ("*/*, image/png;q=0, image/webp;q=0", "image/jpeg"),
        ("image/png;q=0.2, image/*;q=0.8", "image/webp"),
        ("image/png, image/*;q=0.5", "image/png"),
        ("image/*;q=0, image/tiff", "image/tiff"),
        ("image/*, image/jpeg;q=0", "image/png"),
        ("*/*", "image/png"),
        ("application/json;q=0, */*", "image/png"),
    ],
)
async def test_a_weight_of_0_is_never_answered_with(gateway: RunningApp, accept: str, media_type: str) -> None:
    answer = await gateway.client.post("/restore", content=PNG, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


async def test_a_generated_picture_obeys_a_weight_of_0(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/generate", headers={"accept": "image/*, image/png;q=0"})
    assert answer.headers["content-type"] == "image/webp"


def test_json_that_is_not_wanted_is_not_the_default() -> None:
    assert negotiate("*/*, application/json;q=0", None, True, FORMATS["png"]) == ("picture", None)
    assert negotiate("application/*, application/json;q=0, image/png;q=0.1", None, True, FORMATS["webp"])[1] == FORMATS["png"]
    with pytest.raises(NotAcceptable):
        negotiate("image/*;q=0, application/json;q=0", None, True, FORMATS["png"])


def test_a_named_format_beats_accept() -> None:
    assert negotiate("image/*, image/png;q=0", "png", False, FORMATS["jpeg"]) == ("picture", FORMATS["png"])


async def test_null_says_what_leaving_it_out_says(gateway: RunningApp) -> None:
    case = json.loads((CASES / "json-null.json").read_text()) | {"task": "keeper"}
    plain = await gateway.client.post("/restore", json={name: value for name, value in case.items() if value is not None})
    assert (await gateway.client.post("/restore", json=case)).json()["image"] == plain.json()["image"]
    everything = dict.fromkeys(
        ("steps", "seed", "format", "return", "metadata", "quality", "lossless", "max_latency_ms", "webhook")
    )
    nulls = await gateway.client.post("/restore", json={**case, **everything, "mask": None})
    assert nulls.json()["image"] == plain.json()["image"]
    generated = await gateway.client.post("/generate", json=dict.fromkeys(("model", "seed", "n", "grid", "steps", "format")))
    assert generated.status_code == 200
    edited = {"prompt": "-", "stream": None, "partial_images": None, "output_compression": None, "user": None, "seed": None}
    assert (await gateway.client.post("/v1/images/generations", json=edited)).status_code == 200


async def test_null_is_no_picture_and_makes_no_member_known(gateway: RunningApp) -> None:
    missing = await gateway.client.post("/restore", json={"image": None})
    assert (missing.status_code, "image" in missing.json()["detail"]) == (422, True)
    unknown = await gateway.client.post("/restore", json=encoded(sharpen=None))
    assert (unknown.status_code, "sharpen" in unknown.json()["detail"]) == (422, True)


LINES = base64.encodebytes(PNG).decode()
PLAIN = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "text",
    [
        json.loads((CASES / "base64-as-tools-write-it.json").read_text())["image"],
        LINES,
        LINES.replace("\n", "\r\n"),
        "\t" + PLAIN + " \n",
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(PNG).decode().rstrip("="),
        f"data:image/png;charset=utf-8;base64,{PLAIN}",
        f"data:image/png;name=a.png;base64,{LINES}",
        f"data:;base64,{PLAIN}",
        f"DATA:application/octet-stream;BASE64,{PLAIN}",
        "data:image/png;base64," + PLAIN.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
    ids=["case", "76", "CRLF", "blanks", "no padding", "URL's", "charset", "name", "no type", "octets", "percent"],
)
async def test_base64_is_read_as_tools_write_it(gateway: RunningApp, text: str) -> None:
    answer = await gateway.client.post("/restore", json={"image": text, "task": "keeper", "format": "png"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "text", ["A", "=", "!!!!", PLAIN[:-3], "data:image/png;base64,", "data:image/png,abc", "data:text/html;base64,PGI+"]
)
async def test_what_is_no_base64_of_a_picture_is_refused(gateway: RunningApp, text: str) -> None:
    answer = await gateway.client.post("/restore", json={"image": text})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:rddm:problem:malformed")


def form(*parts: tuple[str, bytes], boundary: str = "XbX") -> dict[str, Any]:
    """A multipart body of (headers, content) as a client that was written by hand sends it."""
    pieces = [f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts]
    content = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return {"content": content, "headers": {"content-type": f"multipart/form-data; boundary={boundary}"}}


LARGE = file_of(pixels_of(200, 200), "PNG", compress_level=0)


@pytest.mark.parametrize(
    "headers",
    [
        'Content-Disposition: form-data; name="image"\r\nContent-Type: image/png',
        'Content-Disposition: form-data; name="image"',
        "Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''d%C3%BCster.png\r\nContent-Type: image/png",
        'Content-Disposition: form-data; name="image"; filename=""',
        "Content-Disposition: form-data; name=image\r\nContent-Type: application/octet-stream",
    ],
)
async def test_a_picture_needs_no_file_name(gateway: RunningApp, headers: str) -> None:
    assert len(LARGE) > 100_000
    answer = await gateway.client.post("/restore?task=keeper", **form((headers, LARGE)))
    assert answer.status_code == 200, answer.text


async def test_a_mask_and_openais_picture_need_none_either(gateway: RunningApp) -> None:
    parts = [('Content-Disposition: form-data; name="image"', LARGE), ('Content-Disposition: form-data; name="mask"', LARGE)]
    assert (await gateway.client.post("/restore?task=unshadow", **form(*parts))).status_code == 200
    edit = form(('Content-Disposition: form-data; name="image[]"\r\nContent-Type: image/png', LARGE))
    assert (await gateway.client.post("/v1/images/edits", **edit)).status_code == 200


async def test_a_long_part_that_is_no_picture_is_named_and_not_the_boundary(gateway: RunningApp) -> None:
    long = ('Content-Disposition: form-data; name="task"', b"a" * 100_000)
    answer = await gateway.client.post("/restore", **form(('Content-Disposition: form-data; name="image"', PNG), long))
    assert answer.status_code == 400
    assert "65536 bytes" in answer.json()["detail"]


async def test_a_form_may_hold_the_parameters(gateway: RunningApp) -> None:
    fields = {"task": "keeper", "steps": "1", "format": "jpeg"}
    answer = await gateway.client.post("/restore", files={"image": ("a.png", PNG)}, data=fields)
    assert (answer.headers["content-type"], answer.headers["x-model"], answer.headers["x-steps"]) == ("image/jpeg", "keeper", "1")
    twice = await gateway.client.post("/restore?steps=2", files={"image": ("a.png", PNG)}, data=fields)
    assert (twice.status_code, "steps" in twice.json()["detail"]) == (422, True)
    unknown = await gateway.client.post("/restore", files={"image": ("a.png", PNG)}, data={"sharpen": "1"})
    assert (unknown.status_code, "sharpen" in unknown.json()["detail"]) == (422, True)
