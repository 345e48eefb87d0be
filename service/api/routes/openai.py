"""OpenAI's image routes: its SDKs work by changing base_url. Words are not understood here: `prompt` is read and ignored."""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rddm.image import encode, to_pixels
from service.api import responses
from service.api.bodies import fields_of, form_of, json_body, one_file, validated
from service.api.dependencies import ContextDependency, GatewayDependency, find, problems
from service.api.openapi import once_asked, openai_answers, openai_edit_body, openai_generation_body
from service.api.problems import with_openai_error
from service.errors import InvalidValue, Malformed
from service.gateway import Gateway
from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.restoration.documents import base64_of, headers_of, to_json
from service.restoration.parameters import (
    Brightness,
    BrightnessMean,
    Compression,
    Count,
    Flag,
    GenerateParameters,
    PartialImages,
    RestoreParameters,
    Seed,
    Steps,
    Strength,
    Tasks,
    null_is_unset,
)
from service.restoration.service import RequestResult
from service.sampling.work import Listener, Step

router = APIRouter(prefix="/v1", tags=["openai"], responses=problems(401, 404))
WORK_PROBLEMS = problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
FILES = ("image", "image[]", "mask")
ADJUSTMENTS = ("strength", "brightness", "brightness_mean")
COMPRESSED = ("jpeg", "webp")
USAGE = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0, "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}
Ignored = Annotated[Any, BeforeValidator(lambda _: None)]


def _only_best(value: object) -> object:
    return value if value == "best" else None


class OpenAIParameters(BaseModel):
    """What both routes may say; the members that are Ignored change nothing. As at OpenAI, null is a member that is not set."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=null_is_unset, defer_build=True)

    model: Tasks | None = None
    n: Count = 1
    size: Annotated[str, Field(max_length=20)] = "auto"
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Compression = Field(default=100, description="quality of JPEG and WebP, 100 the best")
    stream: Flag = False
    partial_images: PartialImages = Field(default=0, description="previews in the stream, where there are so many steps")
    steps: Steps | None = None
    seed: Seed | None = None
    strength: Strength = 1
    brightness: Brightness = "auto"
    brightness_mean: BrightnessMean | None = None
    quality: Annotated[Literal["best"] | None, BeforeValidator(_only_best)] = Field(
        default=None, description="best averages mirror images, at four times the work; other words are ignored"
    )
    prompt: Ignored = None
    user: Ignored = None
    safety_identifier: Ignored = None
    background: Ignored = None
    moderation: Ignored = None
    style: Ignored = None
    input_fidelity: Ignored = None

    @property
    def file_quality(self) -> int | None:
        """The quality to write with; None where OpenAI's own, 100, is not said, and for files without loss."""
        return max(1, self.output_compression) if "output_compression" in self.model_fields_set else None

    def check(self) -> None:
        """Raises InvalidValue for members that exclude one another."""
        if self.output_format not in COMPRESSED and self.output_compression != 100:
            raise InvalidValue(
                f"output_compression = {self.output_compression} with {self.output_format}; it is for {' and '.join(COMPRESSED)}"
            )
        if self.partial_images and not self.stream:
            raise InvalidValue(f"partial_images = {self.partial_images}; they come with stream = true only")
        if self.stream and self.n > 1:
            raise InvalidValue(f"stream = true with n = {self.n}; one picture is streamed")


@router.post(
    "/images/edits",
    responses=openai_answers() | WORK_PROBLEMS,
    openapi_extra=once_asked(lambda: {"requestBody": openai_edit_body()}),
)
async def edits(request: Request, gateway: GatewayDependency, context: ContextDependency) -> Response:
    """Restore a picture: multipart with `image` and, as `model`, a model's name or task."""
    with gateway.drain.track():
        form = await form_of(request)
        parameters = validated(OpenAIParameters, fields_of(form, FILES))
        sent = [name for name in ("image", "image[]") if name in form]
        if len(sent) != 1:
            raise Malformed(f"{len(sent)} parts hold the picture; expected one, `image`")
        image, mask = one_file(form, sent[0]), one_file(form, "mask")
        parameters.check()
        if parameters.n != 1:
            raise InvalidValue(f"n = {parameters.n}; one picture is given back")
        assert image is not None
        restoration = to_restoration(parameters)
        gateway.restoration.check_restore(restoration, image)

        async def run(on_step: Listener | None) -> RequestResult:
            kind = FORMATS[parameters.output_format]
            result = await gateway.restoration.restore(restoration, image, mask, kind, context, on_step)
            _check_size(parameters, result)
            return result

        return await answer(request, gateway, context, OpenAIRequest("image_edit", parameters, run))


def to_restoration(parameters: OpenAIParameters) -> RestoreParameters:
    """What an edit asks for, in the service's own words."""
    turned = {name: getattr(parameters, name) for name in ADJUSTMENTS}
    if parameters.brightness_mean is not None and parameters.brightness != "auto":
        raise InvalidValue("expected brightness or brightness_mean, not both")
    return RestoreParameters(
        task=parameters.model,
        steps=parameters.steps,
        seed=parameters.seed or 0,
        quality=parameters.file_quality,
        ensemble=parameters.quality == "best",
        **turned,
    )


def _check_size(parameters: OpenAIParameters, result: RequestResult) -> None:
    own = f"{result.size[1]}x{result.size[0]}"
    if parameters.size not in {"auto", own}:
        raise InvalidValue(f"size = {parameters.size!r}; the picture is given back in its own size: expected auto or {own}")


@router.post(
    "/images/generations",
    responses=openai_answers() | WORK_PROBLEMS,
    openapi_extra=once_asked(lambda: {"requestBody": openai_generation_body()}),
)
async def generations(request: Request, gateway: GatewayDependency, context: ContextDependency) -> Response:
    """Generate pictures."""
    with gateway.drain.track():
        parameters = validated(OpenAIParameters, await json_body(request))
        parameters.check()
        unused = [name for name in ADJUSTMENTS if name in parameters.model_fields_set]
        if unused:
            raise InvalidValue(f"{unused[0]} is for edits; a generated picture has nothing to be adjusted to")
        generation = GenerateParameters(
            model=parameters.model,
            steps=parameters.steps,
            seed=parameters.seed,
            n=parameters.n,
            quality=parameters.file_quality,
        )
        spec = gateway.restoration.check_generate(generation).spec
        height, width = spec.image_size or (0, 0)
        if parameters.size not in {"auto", f"{width}x{height}"}:
            raise InvalidValue(f"size = {parameters.size!r}; model {spec.name} makes pictures of {width}x{height}")

        async def run(on_step: Listener | None) -> RequestResult:
            return await gateway.restoration.generate(generation, FORMATS[parameters.output_format], context, on_step)

        return await answer(request, gateway, context, OpenAIRequest("image_generation", parameters, run))


@dataclass(frozen=True)
class OpenAIRequest:
    """A request, what its events are named after, and what answers it."""

    kind: Literal["image_edit", "image_generation"]
    parameters: OpenAIParameters
    run: Callable[[Listener | None], Coroutine[Any, Any, RequestResult]]


async def answer(request: Request, gateway: Gateway, context: RequestContext, parsed: OpenAIRequest) -> Response:
    """OpenAI's answer with our headers, or its stream of events."""
    if parsed.parameters.stream:

        async def run(on_step: Listener) -> RequestResult:
            with gateway.drain.track():
                return await parsed.run(on_step)

        return responses.events_response(request, run, OpenAIWording(gateway, parsed).events())
    async with responses.cancelled_when_gone(request):
        result = await parsed.run(None)
    body = {
        "created": int(time.time()),
        "data": [{"b64_json": base64_of(image)} for image in result.images],
        "output_format": result.kind.name,
        "size": f"{result.size[1]}x{result.size[0]}",
    }
    gateway.metrics.observe_timings(result.label, result.timings)
    return Response(to_json(body), headers=headers_of(result) | context.headers(), media_type="application/json")


class OpenAIWording:
    """A stream in the event types of OpenAI's SDKs."""

    def __init__(self, gateway: Gateway, parsed: OpenAIRequest) -> None:
        self._gateway, self._parsed = gateway, parsed
        self._partial = 0

    def events(self) -> responses.EventWording[RequestResult]:
        """As the stream needs it."""
        return responses.EventWording(self._step, self._result, lambda problem: ("error", with_openai_error(problem)))

    def _step(self, step: Step, _start: float) -> tuple[str, Mapping[str, Any]] | None:
        """partial_images of the steps before the last, spread evenly."""
        wanted, before_last = min(self._parsed.parameters.partial_images, step.steps - 1), step.steps - 1
        if step.step >= step.steps or step.step * wanted // before_last == (step.step - 1) * wanted // before_last:
            return None
        body = encode(to_pixels(step.preview), self._parsed.parameters.output_format)
        height, width = step.preview.shape[2:]
        self._partial += 1
        facts = {"partial_image_index": self._partial - 1}
        return self._event("partial_image", body, f"{width}x{height}", self._parsed.parameters.output_format, facts)

    async def _result(self, result: RequestResult) -> tuple[str, str]:
        self._gateway.metrics.observe_timings(result.label, result.timings)
        size = f"{result.size[1]}x{result.size[0]}"
        name, data = self._event("completed", result.images[0], size, result.kind.name, {"usage": USAGE})
        return name, to_json(data)

    def _event(self, name: str, body: bytes, size: str, format_: str, facts: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        kind = f"{self._parsed.kind}.{name}"
        event = {"type": kind, "b64_json": base64_of(body), "created_at": int(time.time()), "size": size, "output_format": format_}
        return kind, {**event, "quality": "auto", "background": "auto", **facts}


@router.get("/models")
async def models(gateway: GatewayDependency, _: ContextDependency) -> dict[str, Any]:
    """The models."""
    return {"object": "list", "data": [_model(name) for name in sorted(gateway.repository.models())]}


@router.get("/models/{name}")
async def model(name: str, gateway: GatewayDependency, _: ContextDependency) -> dict[str, Any]:
    """One model."""
    return _model(find(gateway, name).spec.name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rddm-serve"}
