"""POST /restore and POST /generate."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from service.api import responses
from service.api.bodies import JobHeaders, from_headers, from_query, json_body, media_type, read_restore, validated
from service.api.dependencies import caller_of, context_of, gateway_of, jobs_of, problems
from service.api.negotiation import AcceptedFormat, negotiate
from service.api.openapi import analysis_answer, asked_by, generate_body, picture_answers, restore_body
from service.api.prefix import below, prefix_of
from service.errors import InvalidValue, NotAcceptable, UnsupportedMedia
from service.gateway import Gateway
from service.jobs.documents import fingerprint
from service.jobs.queue import new_job
from service.pictures.formats import FORMATS, sniff
from service.restoration.budgets import RequestContext
from service.restoration.documents import JSON
from service.restoration.parameters import AUTO, GenerateBody, GenerateParameters, RestoreParameters, usual_format
from service.restoration.service import RequestResult, random_seed
from service.results.stored import StoredResponse
from service.sampling.pipeline import Listener

router = APIRouter(tags=["pictures"])
ALL_PROBLEMS = problems(400, 401, 404, 406, 408, 409, 413, 415, 422, 424, 429, 500, 503, 504)
RunRequest = Callable[[Listener | None], Coroutine[Any, Any, RequestResult]]


class Preferences(JobHeaders):
    """What the headers say of when the answer is wanted."""

    prefer: str = Field(default="", alias="prefer", max_length=200, description="respond-async makes a job of it")

    @property
    def respond_async(self) -> bool:
        """Whether the answer may come later."""
        return any(word.partition(";")[0].strip().lower() == "respond-async" for word in self.prefer.split(","))


@dataclass(frozen=True)
class ParsedRequest:
    """One request as it came: what, in which shape, and what answers it. sent: the parameters before a seed was drawn."""

    kind: Literal["restore", "generate"]
    sent: RestoreParameters | GenerateParameters
    parameters: RestoreParameters | GenerateParameters
    image: bytes | None
    mask: bytes | None
    model: str
    accepted: AcceptedFormat
    several: bool
    prefix: str
    run: RunRequest
    output_url: str | None = None


def accept_of(request: Request) -> str | None:
    """The Accept header, also where it comes in several lines."""
    return ", ".join(request.headers.getlist("accept")) or None


@router.post(
    "/restore",
    summary="Restore a picture",
    response_class=Response,
    responses=picture_answers("Envelope") | ALL_PROBLEMS,
    openapi_extra={"requestBody": restore_body(), **asked_by(query=RestoreParameters, header=Preferences)},
)
async def restore(request: Request) -> Response:
    """The picture is the body itself, the multipart part `image`, or base64 in JSON; the answer has its width and height."""
    gateway, context = gateway_of(request), context_of(request, caller_of(request))
    query, preferences = from_query(RestoreParameters, request), from_headers(Preferences, request)
    with gateway.drain.track():
        parameters, image, mask, output_url = await read_restore(request, query, request.app.state.references)
        stages = gateway.restoration.check_restore(parameters, image)
        model = AUTO if parameters.is_auto else ", ".join(stage.model.spec.name for stage in stages)
        accepted = negotiate(accept_of(request), parameters.format, media_type(request) == JSON)
        if output_url is not None and accepted.shape == "picture":
            raise NotAcceptable(f"with output_url the answer is {JSON}, as the picture goes elsewhere")
        accepted = accepted.settled(usual_format(parameters, sniff(image)))

        run = partial(gateway.restoration.restore, parameters, image, mask, accepted.kind, context)
        parsed = ParsedRequest(
            "restore",
            parameters,
            parameters,
            image,
            mask,
            model,
            accepted,
            False,
            prefix_of(request.scope),
            run,
            output_url,
        )
        return await answer(request, gateway, context, parsed, preferences)


@router.post(
    "/analyse",
    summary="Say what is wrong with a picture",
    response_class=JSONResponse,
    responses=analysis_answer() | problems(400, 401, 404, 408, 413, 415, 422, 424, 429, 500, 503, 504),
    openapi_extra={"requestBody": restore_body(), **asked_by(query=RestoreParameters)},
)
async def analyse(request: Request) -> Response:
    """Facts of the file and its pixels, the probability of each fault, and the plan of `task=auto`; nothing is restored.

    The request is as for /restore; what it says beside the picture is checked and changes nothing.
    """
    gateway, context = gateway_of(request), context_of(request, caller_of(request))
    with gateway.drain.track():
        _, image, _, _ = await read_restore(request, from_query(RestoreParameters, request), request.app.state.references)
        async with responses.cancelled_when_gone(request):
            analysis = await gateway.restoration.analyse(image, context)
        return JSONResponse(analysis.document())


@router.post(
    "/generate",
    summary="Generate pictures",
    response_class=Response,
    responses=picture_answers("Envelope", "Pictures") | ALL_PROBLEMS,
    openapi_extra={"requestBody": generate_body(), **asked_by(query=GenerateParameters, header=Preferences)},
)
async def generate(request: Request) -> Response:
    """One PNG, or JSON for several. The same seed gives the same bytes."""
    gateway, context = gateway_of(request), context_of(request, caller_of(request))
    query, preferences = from_query(GenerateParameters, request), from_headers(Preferences, request)
    with gateway.drain.track():
        as_json = media_type(request) == JSON
        if not as_json and await request.body():
            raise UnsupportedMedia(f"a body of {media_type(request)[:80]!r} is not read here; expected none, or {JSON}")
        sent = validated(GenerateBody, await json_body(request), query).parameters() if as_json else query
        parameters = sent if sent.seed is not None else sent.model_copy(update={"seed": random_seed()})
        several = parameters.n > 1 and not parameters.grid
        accepted = negotiate(accept_of(request), parameters.format, several or as_json).settled(FORMATS["png"])
        if accepted.shape == "picture" and several:
            raise NotAcceptable(f"several pictures come as {JSON}, or as one with grid=true")
        model = gateway.restoration.check_generate(parameters).model.spec.name
        run = partial(gateway.restoration.generate, parameters, accepted.kind, context)
        parsed = ParsedRequest("generate", sent, parameters, None, None, model, accepted, several, prefix_of(request.scope), run)
        return await answer(request, gateway, context, parsed, preferences)


async def answer(
    request: Request, gateway: Gateway, context: RequestContext, parsed: ParsedRequest, preferences: Preferences
) -> Response:
    """Now, step by step, or later as a job."""
    if preferences.respond_async:
        return await _submit_job(request, context, parsed, preferences)
    if parsed.parameters.webhook is not None:
        raise InvalidValue("webhook is for jobs only; expected the header Prefer: respond-async beside it")
    if parsed.accepted.shape == "events":
        wording = responses.restoration_wording(partial(_to_envelope, request, gateway, context, parsed))
        return responses.events_response(request, lambda on_step: _tracked(gateway, parsed, on_step), wording)
    async with responses.cancelled_when_gone(request):
        result = await parsed.run(None)
    as_json = parsed.accepted.shape == "json"
    response = responses.response_of(await _finish(request, gateway, context, parsed, result, as_json=as_json))
    response.headers.update(context.caller.headers())
    return response


async def _tracked(gateway: Gateway, parsed: ParsedRequest, on_step: Listener) -> RequestResult:
    with gateway.drain.track():
        return await parsed.run(on_step)


async def _to_envelope(
    request: Request, gateway: Gateway, context: RequestContext, parsed: ParsedRequest, result: RequestResult
) -> str:
    return (await _finish(request, gateway, context, parsed, result, as_json=True)).body.decode()


async def _finish(
    request: Request, gateway: Gateway, context: RequestContext, parsed: ParsedRequest, result: RequestResult, *, as_json: bool
) -> StoredResponse:
    """The result as a response, once it lies where it is to go."""
    if parsed.output_url is not None:
        await request.app.state.references.write(parsed.output_url, result.images[0], result.kind.media_type)
    return await gateway.finish(
        context.caller.name,
        result,
        as_json=as_json,
        several=parsed.several,
        prefix=parsed.prefix,
        delivered_to=parsed.output_url,
    )


async def _submit_job(request: Request, context: RequestContext, parsed: ParsedRequest, preferences: Preferences) -> Response:
    if parsed.parameters.webhook is not None:
        request.app.state.webhooks.check(parsed.parameters.webhook)
    sent, accepted = parsed.sent.model_dump_json(exclude_none=True), parsed.accepted
    accept = accepted.kind.name if accepted.kind else None
    as_json = accepted.shape == "json" or parsed.several
    job = new_job(
        caller=context.caller.name,
        kind=parsed.kind,
        parameters=parsed.parameters.model_dump_json(exclude_none=True),
        accept=accept,
        as_json=as_json,
        fingerprint=fingerprint(f"{parsed.kind} {sent}", f"{accept} {as_json}", parsed.image, parsed.mask),
        bytes=len(parsed.image or b"") + len(parsed.mask or b""),
        key=preferences.idempotency_key,
        model=parsed.model,
        seed=parsed.parameters.seed,
        webhook=parsed.parameters.webhook,
    )
    jobs = jobs_of(request)
    document = below(parsed.prefix, jobs.document(await jobs.submit(job, parsed.image, parsed.mask)))
    headers = {"Location": document["links"]["self"], "Preference-Applied": "respond-async"}
    return JSONResponse(document, status_code=202, headers=headers)
