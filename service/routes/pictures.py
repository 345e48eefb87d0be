"""POST /restore and POST /generate."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from service import reply
from service.accept import JSON, Wanted, wanted
from service.errors import InvalidValue, NotAcceptable
from service.gateway import Gateway
from service.inference import InferenceResult, RequestContext, random_seed
from service.intake import Sources, json_body, media_type, read_restore, validated
from service.jobs import fingerprint, job_document, new_job
from service.openapi import generate_body, picture_answers, restore_body
from service.parameters import GenerateParameters, RestoreParameters
from service.pipeline import Listener
from service.routes.parts import ContextNow, GatewayNow, jobs_of, problems

router = APIRouter(tags=["pictures"])
ALL_PROBLEMS = problems(400, 401, 404, 406, 408, 409, 413, 415, 422, 429, 500, 503, 504)
Carry = Callable[[Listener | None], Coroutine[Any, Any, InferenceResult]]


@dataclass(frozen=True)
class Haste:
    """What the headers say of when the answer is wanted."""

    prefer: str = ""
    idempotency_key: str | None = None

    @property
    def later(self) -> bool:
        """Whether the answer may come later."""
        return any(word.strip().lower() == "respond-async" for word in self.prefer.split(","))


async def haste_of(
    prefer: Annotated[str, Header(description="respond-async makes a job of it", max_length=200)] = "",
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=255, pattern=r"^[!-~ ]+$", description="sent again with the same request, it is the same job"
        ),
    ] = None,
) -> Haste:
    """A coroutine, so that no thread is spent on it."""
    return Haste(prefer, idempotency_key)


@dataclass(frozen=True)
class Wish:
    """One request as it came: what, in which shape, and how it is carried out."""

    kind: Literal["restore", "generate"]
    parameters: RestoreParameters | GenerateParameters
    sources: Sources | None
    model: str
    want: Wanted
    several: bool
    carry: Carry


@router.post(
    "/restore",
    summary="Restore a picture",
    response_class=Response,
    responses=picture_answers("Envelope") | ALL_PROBLEMS,
    openapi_extra={"requestBody": restore_body()},
)
async def restore(
    request: Request,
    gateway: GatewayNow,
    context: ContextNow,
    query: Annotated[RestoreParameters, Query()],
    haste: Annotated[Haste, Depends(haste_of)],
) -> Response:
    """The picture is the body itself, the multipart part `image`, or base64 in JSON; the answer has its width and height."""
    with gateway.drain.track():
        parameters, sources = await read_restore(request, query)
        want = wanted(request.headers.get("accept"), parameters.format, media_type(request) == JSON)
        model = gateway.inference.check_restore(parameters, sources)

        async def carry(on_step: Listener | None) -> InferenceResult:
            return await gateway.inference.restore(parameters, sources, want.kind, context, on_step)

        return await answer(request, gateway, context, Wish("restore", parameters, sources, model, want, False, carry), haste)


@router.post(
    "/generate",
    summary="Generate pictures",
    response_class=Response,
    responses=picture_answers("Envelope", "Pictures") | ALL_PROBLEMS,
    openapi_extra={"requestBody": generate_body()},
)
async def generate(
    request: Request,
    gateway: GatewayNow,
    context: ContextNow,
    query: Annotated[GenerateParameters, Query()],
    haste: Annotated[Haste, Depends(haste_of)],
) -> Response:
    """One PNG, or JSON for several. The same seed gives the same bytes."""
    with gateway.drain.track():
        told = validated(GenerateParameters, await json_body(request), query) if media_type(request) == JSON else query
        parameters = told if told.seed is not None else told.model_copy(update={"seed": random_seed()})
        several = parameters.n > 1 and not parameters.grid
        want = wanted(request.headers.get("accept"), parameters.format, several or media_type(request) == JSON)
        if want.shape == "picture" and several:
            raise NotAcceptable(f"several pictures come as {JSON}, or as one with grid=true")
        model = gateway.inference.check_generate(parameters)

        async def carry(on_step: Listener | None) -> InferenceResult:
            return await gateway.inference.generate(parameters, want.kind, context, on_step)

        return await answer(request, gateway, context, Wish("generate", parameters, None, model, want, several, carry), haste)


async def answer(request: Request, gateway: Gateway, context: RequestContext, wish: Wish, haste: Haste) -> Response:
    """Now, step by step, or later as a job."""
    if haste.later:
        return await _later(request, context, wish, haste)
    if wish.parameters.webhook is not None:
        raise InvalidValue("webhook is for jobs only; expected the header Prefer: respond-async beside it")
    if wish.want.shape == "events":
        return reply.events_response(
            request, lambda on_step: _held(gateway, wish, on_step), lambda result: _told(gateway, context, wish, result)
        )
    result = await reply.unless_gone(request, wish.carry(None))
    response = reply.response_of(
        await gateway.finish(context.caller.name, result, as_json=wish.want.shape == "json", several=wish.several)
    )
    response.headers.update(context.caller.headers())
    return response


async def _held(gateway: Gateway, wish: Wish, on_step: Listener) -> InferenceResult:
    with gateway.drain.track():
        return await wish.carry(on_step)


async def _told(gateway: Gateway, context: RequestContext, wish: Wish, result: InferenceResult) -> str:
    return (await gateway.finish(context.caller.name, result, as_json=True, several=wish.several)).body.decode()


async def _later(request: Request, context: RequestContext, wish: Wish, haste: Haste) -> Response:
    if wish.parameters.webhook is not None:
        request.app.state.webhooks.check(wish.parameters.webhook)
    parameters, want = wish.parameters.model_dump_json(exclude_none=True), wish.want
    accept = want.kind.name if want.kind else None
    as_json = want.shape == "json" or wish.several
    job = new_job(
        caller=context.caller.name,
        kind=wish.kind,
        parameters=parameters,
        accept=accept,
        as_json=as_json,
        fingerprint=fingerprint(f"{wish.kind} {parameters}", f"{accept} {as_json}", wish.sources),
        bytes=len(wish.sources.image) + len(wish.sources.mask or b"") if wish.sources else 0,
        key=haste.idempotency_key,
        model=wish.model,
        seed=wish.parameters.seed,
        webhook=wish.parameters.webhook,
    )
    told = job_document(await jobs_of(request).submit(job, wish.sources))
    headers = {"Location": told["links"]["self"], "Preference-Applied": "respond-async"}
    return JSONResponse(told, status_code=202, headers=headers)
