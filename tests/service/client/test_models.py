"""Headers, envelopes and events become typed results."""

import base64

import httpx2
import pytest

from service.client.models import (
    Generated,
    read_generated,
    read_restored,
    to_generated,
    to_job,
    to_model,
    to_restored,
    to_step,
    to_timings,
)

HEADS = {"content-type": "image/png", "x-model": "m", "x-model-digest": "ab", "x-steps": "2", "x-seed": "7"}
ENVELOPE = {"media_type": "image/png", "model": "m", "digest": "ab", "steps": 2, "seed": 7, "timings": {"decode": 1.5}}
TEXT = base64.b64encode(b"picture").decode()


@pytest.mark.parametrize(
    ("header", "timings"),
    [("decode;dur=1.5, sample;dur=20", {"decode": 1.5, "sample": 20.0}), ("", {}), ("cache, total;dur=3", {"total": 3.0})],
)
def test_timings_are_milliseconds_by_name(header: str, timings: dict[str, float]) -> None:
    assert to_timings(header) == timings


def test_bytes_and_headers_and_an_envelope_say_the_same() -> None:
    headed = read_restored(httpx2.Response(200, headers={**HEADS, "server-timing": "decode;dur=1.5"}, content=b"picture"))
    assert headed == to_restored({**ENVELOPE, "image": TEXT, "more": 1})
    assert "picture" not in repr(headed)


@pytest.mark.parametrize("several", [True, False])
def test_generated_pictures_have_a_seed_each(several: bool) -> None:
    one = {"image": TEXT, "seed": 7}
    payload = {"images": [one, {**one, "seed": 8}]} if several else {"image": TEXT}
    generated = to_generated({**ENVELOPE, **payload})
    assert (generated.images, generated.seeds) == ((b"picture",) * (2 if several else 1), (7, 8) if several else (7,))


def test_generated_pictures_come_as_bytes_or_as_json() -> None:
    from_bytes = read_generated(httpx2.Response(200, headers=HEADS, content=b"picture"))
    from_json = read_generated(httpx2.Response(200, json={**ENVELOPE, "image": TEXT}))
    assert isinstance(from_bytes, Generated)
    assert (from_bytes.images, from_bytes.seeds) == (from_json.images, from_json.seeds) == ((b"picture",), (7,))


def test_a_steps_preview_is_the_bytes_behind_the_comma() -> None:
    event = {"preview": f"data:image/jpeg;base64,{TEXT}", "step": 1, "steps": 2, "width": 4, "height": 3, "elapsed_ms": 0.5}
    assert to_step(event).preview == b"picture"


def test_models_and_jobs_pass_over_what_is_new() -> None:
    facts = {
        "name": "m",
        "task": "t",
        "kind": "restore",
        "version": 1,
        "digest": "ab",
        "licence": "L",
        "size": {},
        "takes_mask": False,
    }
    assert to_model({**facts, "steps": {"default": 2, "min": 1, "max": 10}, "more": 1}).steps.max == 10
    job = {"id": "j", "kind": "restore", "step": 0, "steps": None, "created_at": "", "expires_at": "", "model": "m", "more": 1}
    assert [to_job({**job, "status": status}).finished for status in ("queued", "running", "succeeded", "failed", "cancelled")] == [
        *(False, False, True, True, True)
    ]
