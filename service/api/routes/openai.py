"""OpenAI's image routes: its SDKs work by changing base_url. Words are not understood here: `prompt` is read and ignored."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.api import responses
from service.api.bodies import form_of, json_body, one_file, validated
from service.api.dependencies import CallerDependency, ContextDependency, GatewayDependency, find, problems
from service.api.openapi import openai_edit_body, openai_generation_body
from service.errors import InvalidValue, Malformed
from service.gateway import Gateway
from service.pictures.formats import FORMATS
from service.restoration.budgets import RequestContext
from service.restoration.documents import base64_of, headers_of, to_json
from service.restoration.parameters import Count, GenerateParameters, Name, RestoreParameters, Seed, Steps
from service.restoration.service import RequestResult
from service.restoration.uploads import Uploads

router = APIRouter(prefix="/v1", tags=["openai"], responses=problems(401, 404))
WORK_PROBLEMS = problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
FILES = ("image", "image[]", "mask")
NULLABLE = ("n", "size", "response_format", "output_format")
Ignored = Annotated[Any, BeforeValidator(lambda _: None)]


def _nullable(schema: dict[str, Any]) -> None:
    for name in NULLABLE:
        told = schema["properties"][name]
        schema["properties"][name] = {"anyOf": [told, {"type": "null"}], "default": told.pop("default")}


class OpenAIParameters(BaseModel):
    """What both routes may say; the members that are Ignored change nothing. As at OpenAI, null is a member that is not set."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_nullable)

    model: Name | None = None
    n: Count = 1
    size: Annotated[str, Field(max_length=20)] = "auto"
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    steps: Steps | None = None
    seed: Seed | None = None
    prompt: Ignored = None
    user: Ignored = None
    quality: Ignored = None
    background: Ignored = None
    moderation: Ignored = None
    style: Ignored = None
    input_fidelity: Ignored = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, said: Any) -> Any:
        return {name: value for name, value in said.items() if value is not None or name not in NULLABLE}


@router.post("/images/edits", responses=WORK_PROBLEMS, openapi_extra={"requestBody": openai_edit_body()})
async def edits(request: Request, gateway: GatewayDependency, context: ContextDependency) -> Response:
    """Restore a picture: multipart with `image` and, as `model`, a model's name or task."""
    with gateway.drain.track():
        async with form_of(request) as form:
            twice = [name for name in form if name not in FILES and len(form.getlist(name)) > 1]
            if twice:
                raise Malformed(f"the part `{twice[0][:60]}` came {len(form.getlist(twice[0]))} times; expected one")
            parameters = validated(OpenAIParameters, {name: value for name, value in form.items() if name not in FILES})
            sent = [name for name in ("image", "image[]") if name in form]
            if len(sent) != 1:
                raise Malformed(f"{len(sent)} parts hold the picture; expected one, `image`")
            image, mask = await one_file(form, sent[0]), await one_file(form, "mask")
        if parameters.n != 1 or parameters.size != "auto":
            raise InvalidValue(
                f"n = {parameters.n}, size = {parameters.size!r}: one picture is given back, in its own size; "
                "expected n = 1 and size auto"
            )
        assert image is not None
        restoration = RestoreParameters(task=parameters.model, steps=parameters.steps, seed=parameters.seed or 0)
        work = gateway.restoration.restore(restoration, Uploads(image, mask), FORMATS[parameters.output_format], context)
        return told(gateway, context, await responses.unless_gone(request, work))


@router.post("/images/generations", responses=WORK_PROBLEMS, openapi_extra={"requestBody": openai_generation_body()})
async def generations(request: Request, gateway: GatewayDependency, context: ContextDependency) -> Response:
    """Generate pictures."""
    with gateway.drain.track():
        parameters = validated(OpenAIParameters, await json_body(request))
        generation = GenerateParameters(model=parameters.model, steps=parameters.steps, seed=parameters.seed, n=parameters.n)
        spec = gateway.restoration.check_generate(generation).model.spec
        height, width = spec.image_size or (0, 0)
        if parameters.size not in {"auto", f"{width}x{height}"}:
            raise InvalidValue(f"size = {parameters.size!r}; model {spec.name} makes pictures of {width}x{height}")
        work = gateway.restoration.generate(generation, FORMATS[parameters.output_format], context)
        return told(gateway, context, await responses.unless_gone(request, work))


def told(gateway: Gateway, context: RequestContext, result: RequestResult) -> Response:
    """OpenAI's answer, with our headers."""
    answer = {
        "created": int(time.time()),
        "data": [{"b64_json": base64_of(image.body)} for image in result.images],
        "output_format": result.kind.name,
        "size": f"{result.size[1]}x{result.size[0]}",
    }
    gateway.metrics.observe_timings(result.model.spec.name, result.timings)
    return Response(to_json(answer), headers=headers_of(result) | context.caller.headers(), media_type="application/json")


@router.get("/models")
async def models(gateway: GatewayDependency, _: CallerDependency) -> dict[str, Any]:
    """The models."""
    return {"object": "list", "data": [_model(name) for name in sorted(gateway.repository.models())]}


@router.get("/models/{name}")
async def model(name: str, gateway: GatewayDependency, _: CallerDependency) -> dict[str, Any]:
    """One model."""
    return _model(find(gateway, name).spec.name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rddm-serve"}
