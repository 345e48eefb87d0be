"""A result in words: headers, the JSON envelope, a step's preview."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rddm.image import encode, to_pixels
from service.restoration.service import RequestResult
from service.results.stored import StoredResponse
from service.sampling.work import Image, Step

JSON = "application/json"


def headers_of(result: RequestResult) -> dict[str, str]:
    """What every answer tells of how it was made."""
    dropped = {"X-Dropped": ", ".join(result.dropped)} if result.dropped else {}
    changed = {} if result.analysis is None else {"X-Changed": "true" if result.chain else "false"}
    made = {
        "X-Model": result.models,
        "X-Model-Digest": result.digests,
        "X-Steps": ", ".join(map(str, result.chain_steps)),
    }
    return {
        **dropped,
        **changed,
        **(made if result.chain else {}),
        "X-Seed": str(result.seed),
        "Server-Timing": ", ".join(f"{part};dur={milliseconds:.1f}" for part, milliseconds in result.timings.items()),
        "Vary": "Accept",
    }


def base64_of(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def stored_responses(result: RequestResult) -> list[StoredResponse]:
    """The pictures as GET /results/{id} gives them; their entity tags are computed."""
    headers = {name: value for name, value in headers_of(result).items() if name.startswith("X-")}
    responses = [StoredResponse(image, result.kind.media_type, headers) for image in result.images]
    for response in responses:
        _ = response.etag
    return responses


def facts_of(result: RequestResult) -> dict[str, Any]:
    """What every envelope tells."""
    return {
        "media_type": result.kind.media_type,
        "width": result.size[1],
        "height": result.size[0],
        "model": result.models,
        "digest": result.digests,
        "steps": result.steps,
        "seed": result.seed,
        "timings": {part: round(milliseconds, 1) for part, milliseconds in result.timings.items()},
        **({"dropped": list(result.dropped)} if result.dropped else {}),
        **({} if result.analysis is None else {"changed": bool(result.chain), "analysis": result.analysis.document()}),
        **({"stages": stages_of(result)} if len(result.chain) > 1 else {}),
    }


def stages_of(result: RequestResult) -> list[dict[str, Any]]:
    """Each model of several, in order."""
    made_by = zip(result.chain, result.chain_steps, strict=True)
    return [{"model": model.spec.name, "digest": model.digest, "steps": steps} for model, steps in made_by]


def envelope(result: RequestResult, locations: list[str], several: bool) -> dict[str, Any]:
    """The JSON answer: one `image`, or several `images`."""
    if not several:
        return {"image": base64_of(result.images[0]), **facts_of(result), "location": locations[0]}
    images = [
        {"image": base64_of(image), "seed": seed, "location": location}
        for image, seed, location in zip(result.images, result.seeds, locations, strict=True)
    ]
    return {"images": images, **facts_of(result)}


def delivery_of(result: RequestResult, address: str) -> StoredResponse:
    """The answer whose picture lies at an address, which is shown without its query: a presigned one's is a secret."""
    body = result.images[0]
    output = {
        "output_url": urlsplit(address)._replace(query="", fragment="").geturl(),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return StoredResponse(to_json({**output, **facts_of(result)}).encode(), JSON, headers_of(result))


def content_of(
    result: RequestResult, responses: Sequence[StoredResponse], locations: list[str], *, as_json: bool, several: bool
) -> StoredResponse:
    """The body of the answer and its headers. locations: where the pictures can be got again."""
    headers = headers_of(result) if several else headers_of(result) | {"Content-Location": locations[0]}
    if as_json:
        return StoredResponse(to_json(envelope(result, locations, several)).encode(), JSON, headers)
    return StoredResponse(responses[0].body, responses[0].media_type, headers | {"ETag": responses[0].etag})


def preview_of(step: Step, started: float) -> dict[str, Any]:
    """A step as its event tells it, with the predicted x_0 as a small JPEG."""
    before = {} if step.before is None else {"before": _jpeg_address(step.before)}
    return {
        "step": step.step,
        "steps": step.steps,
        "preview": _jpeg_address(step.preview),
        **before,
        "width": step.preview.shape[3],
        "height": step.preview.shape[2],
        "elapsed_ms": round((time.monotonic() - started) * 1000, 1),
    }


def _jpeg_address(preview: Image) -> str:
    return f"data:image/jpeg;base64,{base64_of(encode(to_pixels(preview), 'jpeg', quality=85))}"


def to_json(value: Mapping[str, Any]) -> str:
    """A mapping as compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
