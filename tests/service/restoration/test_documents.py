"""A result in words."""

import base64
import json
import time
from typing import Any

import numpy as np
import pytest

from service.pictures.formats import FORMATS, sniff
from service.restoration.documents import (
    content_of,
    delivery_of,
    envelope,
    facts_of,
    headers_of,
    preview_of,
    stored_responses,
    to_json,
)
from service.restoration.service import RequestResult
from service.sampling.work import Step
from tests.service.serving import RESTORER, model


def result(count: int = 1, **changes: Any) -> RequestResult:
    images = tuple(f"picture {index}".encode() for index in range(count))
    facts: dict[str, Any] = {
        "images": images,
        "kind": FORMATS["webp"],
        "size": (24, 40),
        "chain": (model(RESTORER),),
        "chain_steps": (2,),
        "seed": 7,
    }
    return RequestResult(**{**facts, "timings": {"decode": 1.26, "sample": 20.0}, **changes})


def test_headers_tell_how_it_was_made() -> None:
    headers = headers_of(result())
    assert (headers["X-Model"], headers["X-Steps"], headers["X-Seed"]) == ("lowlight", "2", "7")
    assert headers["Server-Timing"] == "decode;dur=1.3, sample;dur=20.0"
    assert "X-Dropped" not in headers
    assert headers_of(result(dropped=("gain-map", "hdr")))["X-Dropped"] == "gain-map, hdr"


def test_an_envelope_has_one_picture_or_several() -> None:
    one = envelope(result(), ["/results/a"], several=False)
    assert base64.b64decode(one["image"]) == b"picture 0"
    assert (one["width"], one["height"], one["media_type"], one["location"]) == (40, 24, "image/webp", "/results/a")
    several = envelope(result(2), ["/results/a", "/results/b"], several=True)
    assert [(image["seed"], image["location"]) for image in several["images"]] == [(7, "/results/a"), (8, "/results/b")]
    assert "image" not in several
    assert facts_of(result())["timings"] == {"decode": 1.3, "sample": 20.0}


@pytest.mark.parametrize("as_json", [True, False])
def test_an_answer_is_the_picture_or_its_envelope(as_json: bool) -> None:
    made = result()
    [stored] = stored_responses(made)
    answer = content_of(made, [stored], ["/results/a"], as_json=as_json, several=False)
    assert answer.headers["Content-Location"] == "/results/a"
    assert answer.media_type == ("application/json" if as_json else "image/webp")
    assert (answer.body == b"picture 0") != as_json
    assert answer.headers.get("ETag") == (None if as_json else stored.etag)


def test_what_is_kept_has_no_timings() -> None:
    [stored] = stored_responses(result())
    assert set(stored.headers) == {"X-Model", "X-Model-Digest", "X-Steps", "X-Seed"}


def test_a_presigned_address_is_shown_without_its_secret() -> None:
    body = json.loads(delivery_of(result(), "https://bucket.example/key?signature=secret#x").body)
    assert (body["output_url"], body["bytes"]) == ("https://bucket.example/key", 9)
    assert "secret" not in json.dumps(body)


def test_a_step_is_shown_as_a_small_jpeg() -> None:
    step = Step(1, 3, np.zeros((1, 3, 24, 40), np.float32), before=np.zeros((1, 3, 24, 40), np.float32))
    shown = preview_of(step, time.monotonic() - 1)
    assert (shown["step"], shown["steps"], shown["width"], shown["height"]) == (1, 3, 40, 24)
    assert shown["elapsed_ms"] >= 1000
    for name in ("preview", "before"):
        head, _, text = shown[name].partition(",")
        assert head == "data:image/jpeg;base64"
        assert sniff(base64.b64decode(text)).name == "jpeg"


def test_json_is_compact_and_never_nan() -> None:
    assert to_json({"a": [1, "ä"]}) == '{"a":[1,"ä"]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})
