"""Operations are driven by hand: no network, no clock."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.client.errors import Problem, Unexpected, Unreachable
from service.client.operations import (
    Notify,
    Operations,
    ReadLine,
    Send,
    Sleep,
    admin_path,
    contents,
    job_path,
    next_event,
    to_address,
    to_body,
    to_headers,
    to_query,
)

OPERATIONS = Operations(to_address("http://gateway:8000/base/"), to_headers("secret"), httpx2.Timeout(9), retries=2, max_wait=5.0)
OK = httpx2.Response(200, json={"a": 1})
BUSY = httpx2.Response(503, headers={"retry-after": "3"}, json={})


def driven(operation: Generator[Any, Any, Any], *answers: Any) -> tuple[list[Any], Any]:
    """The effects that an operation asks for, and what it returns."""
    effects: list[Any] = []
    waiting = list(answers)
    try:
        effect = next(operation)
        while True:
            effects.append(effect)
            effect = operation.send(None if isinstance(effect, Sleep | Notify) else waiting.pop(0))
    except StopIteration as end:
        return effects, end.value


def test_a_request_goes_below_the_base_with_the_key() -> None:
    request = OPERATIONS.request("POST", "/restore", {"accept": "image/*"}, params={"seed": "7"})
    assert str(request.url) == "http://gateway:8000/base/restore?seed=7"
    assert (request.headers["authorization"], request.headers["accept"]) == ("Bearer secret", "image/*")
    assert "secret" not in repr(OPERATIONS)


def test_what_is_busy_is_asked_again_as_late_as_it_wishes() -> None:
    effects, answer = driven(OPERATIONS.read("/models", dict), BUSY, Unreachable("gone"), OK)
    assert answer == {"a": 1}
    assert [type(effect) for effect in effects] == [Send, Sleep, Send, Sleep, Send]
    assert effects[1].seconds == 3.0
    assert 0.5 <= effects[3].seconds <= 1.0


@pytest.mark.parametrize("answer", [httpx2.Response(404, json={}), httpx2.Response(503, headers={"retry-after": "60"}, json={})])
def test_what_will_not_pass_or_passes_too_late_is_an_error_at_once(answer: httpx2.Response) -> None:
    with pytest.raises(Problem):
        driven(OPERATIONS.read("/models", dict), answer)


def test_patience_ends() -> None:
    with pytest.raises(Unreachable):
        driven(OPERATIONS.read("/models", dict), *[Unreachable("gone")] * 3)


def test_an_answer_of_another_service_is_unexpected() -> None:
    with pytest.raises(Unexpected, match="the answer is not this service's: KeyError"):
        driven(OPERATIONS.read("/models", lambda body: body["b"]), OK)


def test_events_are_read_line_by_line() -> None:
    lines = [": still at work", "", "event: step", "id: 4", 'data: {"a":', "data: 1}", ""]
    effects, event = driven(next_event(), *lines)
    assert event == ("step", {"a": 1}, "4")
    assert effects == [ReadLine()] * len(lines)
    assert driven(next_event(), "data: {}", None)[1] is None
    with pytest.raises(Unreachable):
        driven(next_event(), Unreachable("broken"))


def test_a_stream_ends_with_its_result_its_problem_or_is_broken() -> None:
    result = ["event: result", f"data: {json.dumps({'a': 1})}", ""]
    assert driven(OPERATIONS.follow(None), *result)[1] == {"a": 1}
    with pytest.raises(Unreachable, match="the stream ended before the result"):
        driven(OPERATIONS.follow(None), None)


def test_a_query_is_as_the_server_reads_it() -> None:
    assert to_query({"returns": "steps", "lossless": True, "seed": 7, "task": None}) == {
        "return": "steps",
        "lossless": "true",
        "seed": "7",
    }


@pytest.mark.parametrize("address", ["gateway:8000", "ftp://a", "http://", "http://a:b"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address of a gateway; expected http://HOST:PORT"):
        to_address(address)


def test_names_are_quoted_in_paths() -> None:
    assert job_path("a/b?") == "/jobs/a%2Fb%3F"
    assert admin_path("../m", "load") == "/admin/models/..%2Fm/load"


def test_a_picture_is_bytes_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"picture")
    assert contents(b"bytes") == b"bytes"
    assert to_body(tmp_path / "x.png", None) == {"content": b"picture"}
    assert to_body(b"a", b"b") == {"files": {"image": ("image", b"a"), "mask": ("mask", b"b")}}
