"""A path below which a proxy offers the service: in requests' scopes, and answers that stay below it."""

import json
from typing import Any

import pytest
from starlette.datastructures import MutableHeaders

from service.api.prefix import below, located, place_references, prefix_of, response_below, route_of
from service.results.stored import StoredResponse


def scope_of(path: str, root_path: str = "", headers: dict[str, str] | None = None) -> Any:
    encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return located({"type": "http", "path": path, "headers": encoded}, root_path)


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
def test_the_route_is_the_same_below_any_prefix(root_path: str, forwarded: str, path: str, prefix: str) -> None:
    scope = scope_of(path, root_path, {"x-forwarded-prefix": forwarded})
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
def test_what_an_answer_refers_to_stays_below_it_and_names_no_host(location: str, moved: str) -> None:
    headers = MutableHeaders({"location": location})
    place_references(headers, scope_of("/x", "/rddm", {"host": "gateway"}))
    assert headers["location"] == moved


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
