"""A job as callers see it."""

from typing import Any

import pytest

from service.jobs.documents import fingerprint, job_document
from service.jobs.store import Job


def job(**changes: Any) -> Job:
    facts: dict[str, Any] = {"id": "j", "caller": "c", "kind": "restore", "parameters": "{}", "accept": None, "as_json": False}
    return Job(**{**facts, "created": 0.5, "expires": 3600.0, "fingerprint": "f", "bytes": 9, **changes})


def test_a_job_that_waits() -> None:
    document = job_document(job(), "https://public.example/rddm")
    assert (document["status"], document["progress"], document["eta"]) == ("queued", None, None)
    assert (document["created_at"], document["expires_at"]) == ("1970-01-01T00:00:00.500+00:00", "1970-01-01T01:00:00.000+00:00")
    assert document["links"]["result"] == "https://public.example/rddm/jobs/j/result"
    assert {"problem", "clip"}.isdisjoint(document)


@pytest.mark.parametrize(
    ("changes", "progress"),
    [
        ({"status": "running", "progress": 0.25}, 0.25),
        ({"status": "succeeded", "progress": 0.25}, 1.0),
        ({"status": "running", "kind": "video", "step": 1, "steps": 3}, 0.3333),
        ({"status": "running", "kind": "video", "step": 1, "steps": None}, None),
    ],
)
def test_progress_is_of_network_calls_and_of_a_clip_of_frames(changes: dict[str, Any], progress: float | None) -> None:
    assert job_document(job(**changes))["progress"] == progress


def test_an_end_is_foreseen_only_while_it_runs() -> None:
    assert job_document(job(status="running", eta=7.0))["eta"] == "1970-01-01T00:00:07.000+00:00"
    assert job_document(job(status="failed", eta=7.0, problem={"status": 413}))["eta"] is None


def test_problems_and_clips_are_shown_where_there_are_some() -> None:
    document = job_document(job(status="failed", problem={"status": 413}, clip={"frames": 9}))
    assert (document["problem"], document["clip"]) == ({"status": 413}, {"frames": 9})


def test_two_requests_are_the_same_one_only_if_everything_is() -> None:
    requests = [
        ("{}", "a", None),
        ("{}", "b", None),
        ('{"x":1}', "a", None),
        ("{}", "a", b"i"),
        ("{}", "a", b"i", b"m"),
    ]
    assert len({fingerprint(*request) for request in requests}) == len(requests)
    assert fingerprint("{}", "a", b"i") == fingerprint("{}", "a", b"i")
    assert fingerprint("{}", "a", b"i", b"") == fingerprint("{}", "a", b"i")


def test_of_several_models_the_steps_of_all_tell_how_far_it_is() -> None:
    document = job_document(job(status="running", model="derain, lowlight", step=1, steps=4, progress=0.9, eta=1e9))
    assert (document["progress"], document["eta"]) == (0.25, None)
