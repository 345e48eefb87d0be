"""The endurance run can fail: every promise that is broken is reported."""

import random
from collections.abc import Callable

import httpx2
import pytest

from benchmarks.endurance import NOTICE_SECONDS, Tally, ask
from benchmarks.mixture import KINDS, Mixture, Outcome
from rddm.image import encode
from tests.service.conftest import pixels_of

PROBLEM = {"type": "urn:rddm:problem:x", "detail": "no engine answers", "request_id": "1", "status": 503}
MEDIA = {"content-type": "application/problem+json", "retry-after": "1"}


def tally(*memory: float) -> Tally:
    return Tally(memory=[(index, used, 100.0) for index, used in enumerate(memory or [400.0] * 100)])


def noted(outcome: Outcome, **facts: object) -> list[str]:
    counts = tally()
    vars(counts).update(facts)
    counts.note(outcome, 100.0, 101.0)
    return counts.broken()


def test_a_good_run_keeps_every_promise() -> None:
    assert noted(Outcome("raw", 200, picture=(("asked",), "digest"))) == []


@pytest.mark.parametrize(
    ("down", "expected"),
    [
        ([], ["503 while an engine lived: 1"]),
        ([(90.0, 95.0 - NOTICE_SECONDS)], ["503 while an engine lived: 1"]),
        ([(102.0, 103.0)], ["503 while an engine lived: 1"]),
        ([(90.0, 100.5)], []),
        ([(100.5, float("inf"))], []),
    ],
)
def test_a_refusal_is_excused_only_while_no_engine_lives(down: list[tuple[float, float]], expected: list[str]) -> None:
    assert noted(Outcome("raw", 503), down=down) == expected


def test_other_bytes_lost_and_hung_requests_are_reported() -> None:
    counts = tally()
    counts.note(Outcome("raw", 200, picture=(("asked",), "one")), 0, 1)
    counts.note(Outcome("form", 200, picture=(("asked",), "other")), 0, 1)
    counts.note(Outcome("any", 0, "lost"), 0, 1)
    counts.note(Outcome("any", 0, "hung"), 0, 1)
    assert counts.broken() == ["hung: 1", "lost: 1", "other bytes for the same request: 1"]


@pytest.mark.parametrize(("last", "kept"), [(403.0, True), (408.0, False)])
def test_memory_that_grows_in_the_second_half_is_reported(last: float, kept: bool) -> None:
    settled = [300 + index for index in range(100)]  # what grows in the first half is warming up
    counts = tally(*settled, *(400 + (last - 400) * index / 99 for index in range(100)))
    assert (counts.broken() == []) is kept


Answer = Callable[[httpx2.Request], httpx2.Response]


async def outcome_of(kind: str, answer: Answer) -> Outcome:
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://gateway") as client:
        return await KINDS[kind][1](Mixture(client), random.Random(0))


@pytest.mark.parametrize("kind", ["raw", "form", "envelope", "events", "job", "edit", "generate", "read"])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (httpx2.Response(500, text="oops"), True),
        (httpx2.Response(503, json=PROBLEM), True),
        (httpx2.Response(503, json=PROBLEM | {"status": 500}, headers=MEDIA), True),
        (httpx2.Response(422, json=PROBLEM | {"status": 422}, headers=MEDIA), True),
        (httpx2.Response(503, json=PROBLEM, headers=MEDIA), False),
    ],
)
async def test_a_refusal_must_be_a_problem_with_retry_after(kind: str, answer: httpx2.Response, fault: bool) -> None:
    actual = await outcome_of(kind, lambda _: answer)
    assert actual.status == answer.status_code
    assert (actual.fault is not None) is fault


@pytest.mark.parametrize("body", [b"", b"not a picture", encode(pixels_of(8, 8)), encode(pixels_of(8, 8))[:-20]])
async def test_a_success_must_be_the_picture_that_was_asked_for(body: bytes) -> None:
    assert (await outcome_of("raw", lambda _: httpx2.Response(200, content=body))).fault is not None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", True),
        ('event: step\ndata: {"step": 1}\n\n', True),
        ('event: result\ndata: {"steps": 2, "image": ""}\n\n', True),
        ('event: error\ndata: {"status": 503}\n\n', True),
        (f"event: error\ndata: {httpx2.Response(200, json=PROBLEM).text}\n\n", False),
    ],
)
async def test_a_stream_must_come_to_its_end(text: str, fault: bool) -> None:
    assert ((await outcome_of("events", lambda _: httpx2.Response(200, text=text))).fault is not None) is fault


async def test_what_failed_while_the_run_stood_still_is_asked_again() -> None:
    counts, answers = tally(), iter([500, 503])

    def answer(_: httpx2.Request) -> httpx2.Response:
        status = next(answers)
        if status == 500:
            counts.pauses.append((0, float("inf")))
        else:
            counts.pauses.clear()
        return httpx2.Response(status, text="oops")

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://gateway") as client:
        await ask(Mixture(client), 2, counts)
    assert [status[-3:] for status in counts.statuses] == ["503"]


async def test_bad_input_must_be_refused_as_it_should_be() -> None:
    problem = PROBLEM | {"status": 413}
    assert (await outcome_of("bad", lambda _: httpx2.Response(413, json=problem, headers=MEDIA))).fault is not None
    assert (await outcome_of("bad", lambda _: httpx2.Response(200, content=b"x"))).fault is not None
