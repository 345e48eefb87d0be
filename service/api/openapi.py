"""The parts of the OpenAPI document that FastAPI cannot see in a signature: bodies, pictures, streams, problems, and examples."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from rddm.image import encode
from service.api.negotiation import EVENTS
from service.api.problems import MEDIA_TYPE
from service.pictures.formats import FORMATS
from service.pictures.picture import LEFT_OUT
from service.restoration.documents import JSON
from service.restoration.parameters import RestoreParameters

BINARY = {"type": "string", "format": "binary"}
REFERENCE = "#/components/schemas/{model}"
Described = dict[str, Any]
UNDESCRIBED: list[tuple[Described, Callable[[], Described]]] = []


def once_asked(describe: Callable[[], Described]) -> Described:
    """What is empty until the document is asked for: most gateways never make it, and the schemas take a start 0.03 s."""
    described: Described = {}
    UNDESCRIBED.append((described, describe))
    return described


def example_picture() -> str:
    """A dark 16x16 PNG as base64: small enough to read in a document, and a real request."""
    ramp = np.arange(16, dtype=np.uint8)
    return base64.b64encode(
        encode(np.stack([ramp[:, None] + ramp, ramp[:, None] + 8 + 0 * ramp, 24 + 0 * ramp[:, None] + ramp], axis=2))
    ).decode()


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TIMINGS = {"type": "object", "additionalProperties": NUMBER, "description": "milliseconds of decode, sample and encode"}
FACTS = {
    "media_type": TEXT,
    "width": WHOLE,
    "height": WHOLE,
    "model": TEXT,
    "digest": TEXT,
    "steps": WHOLE,
    "seed": WHOLE,
    "timings": TIMINGS,
}
STAGES = {
    "type": "array",
    "items": _schema(model=TEXT, digest=TEXT, steps=WHOLE),
    "description": "each model in turn, of several tasks; `model` and `digest` then list them, and `steps` is their sum",
}


def _with(schema: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], **optional}}


def _reference(model: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model)}


SCHEMAS: dict[str, Any] = {
    "Problem": {
        **_schema(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT, request_id=TEXT),
        "description": "RFC 9457; `errors` tells where, `retry_after` the seconds to wait",
        "example": {
            "type": "urn:rddm:problem:invalid-value",
            "title": "A value is not allowed",
            "status": 422,
            "detail": "steps = 99; model lowlight takes 1..10",
            "request_id": "a3f1c2d4e5b64f7f8a9b0c1d2e3f4a5b",
        },
    },
    "Envelope": _with(
        _schema(image={**TEXT, "contentEncoding": "base64"}, **FACTS, location=TEXT),
        stages=STAGES,
        changed={"type": "boolean", "description": "of task auto"},
        analysis=_reference("Analysis"),
    ),
    "Analysis": {
        **_schema(
            facts={"type": "object", "description": "of the file and its pixels, by name; null where a file does not say"},
            probabilities={"type": "object", "additionalProperties": NUMBER, "description": "of each fault, 0..1"},
            plan={"type": "array", "items": TEXT, "description": "tasks in order; none where nothing is done"},
        ),
        "example": {
            "facts": {"width": 600, "height": 400, "jpeg_quality": 92, "exposure_ev": 5.6, "mean": 0.112, "noise": [3.1, 1.9, 2.4]},
            "probabilities": {"noise": 0.31, "jpeg": 0.02, "drops": 0.0, "rain": 0.01, "haze": 0.0, "dark": 0.99},
            "plan": ["lowlight"],
        },
    },
    "Pictures": _schema(
        images={"type": "array", "items": _schema(image={**TEXT, "contentEncoding": "base64"}, seed=WHOLE, location=TEXT)}, **FACTS
    ),
    "Job": {
        **_schema(
            id=TEXT,
            status={"enum": ["queued", "running", "succeeded", "failed", "cancelled"]},
            kind={"enum": ["restore", "generate", "video"]},
        ),
        "example": {
            "id": "7f0c5cbe0b5c4f1c9c9a0e3a4b6d8e21",
            "status": "running",
            "kind": "restore",
            "step": 1,
            "steps": 2,
            "created_at": "2026-01-01T12:00:00.000+00:00",
            "expires_at": "2026-01-01T13:00:00.000+00:00",
            "model": "lowlight",
            "seed": 0,
            "links": {"self": "/jobs/7f0c", "events": "/jobs/7f0c/events", "result": "/jobs/7f0c/result"},
        },
    },
}
EVENT_EXAMPLE = (
    'id: 1\nevent: step\ndata: {"step": 1, "steps": 2, "preview": "data:image/jpeg;base64,...", "width": 512, "height": 341, '
    '"elapsed_ms": 210.5}\n\nid: 3\nevent: result\ndata: {"image": "...", "media_type": "image/png", "steps": 2}\n\n'
)


def restore_body() -> dict[str, Any]:
    """The three bodies of /restore."""
    picture = example_picture()
    members = RestoreParameters.model_json_schema(ref_template=REFERENCE)["properties"]
    form = {
        "type": "object",
        "properties": {"image": BINARY, "mask": BINARY, **members},
        "required": ["image"],
        "additionalProperties": False,
    }
    example = {"image": picture, "task": "lowlight", "steps": 2}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            JSON: {"schema": _reference("RestoreBody"), "examples": {"base64": {"value": example}}},
            **{kind.media_type: {"schema": BINARY} for kind in FORMATS.values()},
        },
    }


def analysis_body() -> dict[str, Any]:
    """The three bodies of /analyse."""
    form = {"type": "object", "properties": {"image": BINARY}, "required": ["image"], "additionalProperties": False}
    examples = {"base64": {"value": {"image": example_picture()}}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            JSON: {"schema": _reference("AnalyseBody"), "examples": examples},
            **{kind.media_type: {"schema": BINARY} for kind in FORMATS.values()},
        },
    }


def analysis_answer() -> dict[int | str, dict[str, Any]]:
    """What /analyse answers when all is well."""
    return {200: {"description": "facts, probabilities, plan", "content": {JSON: {"schema": _reference("Analysis")}}}}


def clip_body() -> dict[str, Any]:
    """The body of /restore/video; its type may also be any video/*."""
    words = "the clip's file; Content-Type may also be video/*"
    return {"required": True, "description": words, "content": {"application/octet-stream": {"schema": BINARY}}}


def job_answer() -> dict[int | str, dict[str, Any]]:
    """What /restore/video answers when all is well."""
    return {202: {"description": "a job, whose steps are frames", "content": {JSON: {"schema": _reference("Job")}}}}


def generate_body() -> dict[str, Any]:
    """/generate takes everything from its query too."""
    examples = {"four in a grid": {"value": {"n": 4, "seed": 7, "grid": True}}}
    return {"required": False, "content": {JSON: {"schema": _reference("GenerateBody"), "examples": examples}}}


def openai_edit_body() -> dict[str, Any]:
    """The multipart form of /v1/images/edits."""
    members = RestoreParameters.model_json_schema(ref_template=REFERENCE)["properties"]
    properties = {
        **{name: members[name] for name in ("strength", "brightness", "brightness_mean")},
        "quality": TEXT,
        "image": BINARY,
        "mask": BINARY,
        "model": members["task"],
        "prompt": TEXT,
        "output_format": {"enum": ["png", "jpeg", "webp"]},
        "output_compression": {**WHOLE, "minimum": 0, "maximum": 100},
        "size": TEXT,
        "stream": {"type": "boolean"},
        "partial_images": {**WHOLE, "minimum": 0, "maximum": 3},
        "steps": {**WHOLE, "minimum": 1, "maximum": 1000},
        "seed": {**WHOLE, "minimum": 0},
    }
    schema = {"type": "object", "properties": properties, "required": ["image"], "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def openai_answers() -> dict[int | str, dict[str, Any]]:
    """What both of OpenAI's routes answer when all is well."""
    content = {JSON: {"schema": {"type": "object"}}, EVENTS: {"schema": TEXT}}
    return {200: {"description": "pictures as base64, or with `stream` OpenAI's events", "content": content}}


def openai_generation_body() -> dict[str, Any]:
    """The JSON of /v1/images/generations."""
    examples = {"one": {"value": {"prompt": "ignored", "n": 1, "seed": 7}}}
    return {"required": True, "content": {JSON: {"schema": _reference("OpenAIParameters"), "examples": examples}}}


def asked_by(**models: type[BaseModel]) -> dict[str, Any]:
    """The parameters of a route that reads them itself, by where they are (`query`, `header`), and the keys that it takes."""
    parameters = []
    for where, model in models.items():
        schema = model.model_json_schema(ref_template=REFERENCE)
        for name, value in schema["properties"].items():
            described = {"description": value["description"]} if "description" in value else {}
            needed = name in schema.get("required", ())
            parameters.append({"name": name, "in": where, "required": needed, "schema": value, **described})
    return {"parameters": parameters, "security": [{"HTTPBearer": []}, {"APIKeyHeader": []}]}


def picture_answers(*envelopes: str) -> dict[int | str, dict[str, Any]]:
    """What /restore and /generate answer when all is well."""
    headers = {name: {"schema": TEXT} for name in ("X-Model", "X-Model-Digest", "Server-Timing", "Content-Location", "ETag")}
    headers |= {"X-Steps": {"schema": TEXT}, "X-Seed": {"schema": WHOLE}}  # of several tasks a list, as X-Model and its digest
    parts = f"parts of the input's file that the answer has not: {', '.join(LEFT_OUT)}"
    changed: dict[str, Any] = {"X-Changed": {"schema": {"enum": ["true", "false"]}, "description": "of task auto"}}
    dropped: dict[str, Any] = {"X-Dropped": {"schema": TEXT, "description": parts}}
    content: dict[str, Any] = {kind.media_type: {"schema": BINARY} for kind in FORMATS.values()}
    content |= {
        JSON: {"schema": {"anyOf": [_reference(name) for name in envelopes]}},
        EVENTS: {"schema": TEXT, "example": EVENT_EXAMPLE},
    }
    headers |= changed | dropped
    later = {"description": "a job was made of it", "content": {JSON: {"schema": _reference("Job")}}}
    return {
        200: {
            "description": "the picture, an envelope, or its progress",
            "headers": headers,
            "content": content,
        },
        202: later,
    }


def install(app: FastAPI, models: tuple[type, ...], keys_needed: bool) -> None:
    """Complete the app's document, once it is asked for, with the schemas of these models."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            for described, describe in UNDESCRIBED:
                described.update(describe())
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas |= SCHEMAS
            for model in models:
                schema = model.model_json_schema(ref_template=REFERENCE)  # type: ignore[attr-defined]
                schemas |= schema.pop("$defs", {})
                schemas[model.__name__] = schema
            _only_problems(made)
            if not keys_needed:
                _keys_optional(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _keys_optional(made: dict[str, Any]) -> None:
    for path in made["paths"].values():
        for operation in path.values():
            if "security" in operation:
                operation["security"] = [{}, *operation["security"]]


def _only_problems(made: dict[str, Any]) -> None:
    """FastAPI promises its own validation errors; here they are problems too."""
    for path in made["paths"].values():
        for operation in path.values():
            response = operation.get("responses", {}).get("422")
            if response is not None:
                response["content"] = {MEDIA_TYPE: {"schema": _reference("Problem")}}
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
