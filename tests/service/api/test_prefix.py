"""A path below which a proxy offers the service: what requests are told, and answers that stay below it."""

import json
from typing import Any

import pytest

from service.api.prefix import PrefixMiddleware, below, prefix_of, response_below, route_of
from service.results.stored import StoredResponse


async def located(path: str, root_path: str = "", headers: dict[str, str] | None = None, location: str = "") -> tuple[Any, str]:
    """The scope that the app is given, and the reference of its answer on the way out."""
    seen: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"location", location.encode())]})

    async def send(message: Any) -> None:
        sent.append(message)

    encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "path": path, "headers": encoded}
    await PrefixMiddleware(app, root_path)(scope, None, send)  # type: ignore[arg-type]
    return seen[0], dict(sent[0]["headers"])[b"location"].decode()


@pytest.mark.parametrize(
    ("root_path", "forwarded", "path", "prefix"),
    [
        ("", "", "/restore", ""),
        ("/rddm", "", "/restore", "/rddm"),
        ("/rddm", "", "/rddm/restore", "/rddm"),
        ("/rddm", "/other/", "/restore", "/other"),
        ("", "/a/b, /c", "/restore", "/a/b"),
        ("", "//host", "/restore", ""),
        ("", "/a?b", "/restore", ""),
        ("", "/" + "a" * 300, "/restore", ""),
    ],
)
async def test_the_route_is_the_same_below_any_prefix(root_path: str, forwarded: str, path: str, prefix: str) -> None:
    scope, _ = await located(path, root_path, {"x-forwarded-prefix": forwarded})
    assert (prefix_of(scope), route_of(scope)) == (prefix, "/restore")


@pytest.mark.parametrize(
    ("location", "moved"),
    [
        ("/jobs/1", "/rddm/jobs/1"),
        ("/rddm/jobs/1", "/rddm/jobs/1"),
        ("//elsewhere/x", "//elsewhere/x"),
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("http://gateway/rddm/x?y=1", "/rddm/x?y=1"),
    ],
)
async def test_what_an_answer_refers_to_stays_below_it_and_names_no_host(location: str, moved: str) -> None:
    assert (await located("/x", "/rddm", {"host": "gateway"}, location))[1] == moved


def test_documents_refer_below_the_prefix() -> None:
    document = {
        "links": {"self": "/jobs/1", "out": "https://a/b"},
        "images": [{"location": "/results/2"}],
        "location": "/results/1",
    }
    assert below("/rddm", document) == {
        "links": {"self": "/rddm/jobs/1", "out": "https://a/b"},
        "images": [{"location": "/rddm/results/2"}],
        "location": "/rddm/results/1",
    }
    assert document["location"] == "/results/1"


def test_only_envelopes_are_written_anew() -> None:
    envelope = StoredResponse(b'{"location":"/results/1"}', "application/json", {})
    assert json.loads(response_below("/rddm", envelope).body) == {"location": "/rddm/results/1"}
    assert response_below("", envelope) is envelope
    picture = StoredResponse(b"picture", "image/png", {})
    assert response_below("/rddm", picture) is picture
