"""POST /restore and POST /generate."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from service.api import responses
from service.api.bodies import JobHeaders, from_headers, from_query, json_body, media_type, read_picture, read_restore, validated
from service.api.dependencies import context_of, gateway_of, jobs_of, problems
from service.api.negotiation import negotiate
from service.api.openapi import analysis_answer, analysis_body, asked_by, generate_body, once_asked, picture_answers, restore_body
from service.api.prefix import below, prefix_of
from service.errors import InvalidValue, NotAcceptable, UnsupportedMedia
from service.jobs.documents import fingerprint
from service.jobs.queue import new_job
from service.jobs.store import Job
from service.keys import RequestContext
from service.pictures.formats import FORMATS, PictureFormat, sniff
from service.restoration.documents import JSON
from service.restoration.parameters import AUTO, CommonParameters, GenerateBody, GenerateParameters, RestoreParameters, usual_format
from service.restoration.service import RequestResult, random_seed
from service.results.stored import StoredResponse
from service.sampling.work import Listener

router = APIRouter(tags=["pictures"])
ALL_PROBLEMS = problems(400, 401, 404, 406, 408, 409, 413, 415, 422, 424, 429, 500, 503, 504)
Run = Callable[[Listener | None], Coroutine[Any, Any, RequestResult]]


class Preferences(JobHeaders):
    """What the headers say of when the answer is wanted."""

    prefer: str = Field(default="", alias="prefer", max_length=200, description="respond-async makes a job of it")

    @property
    def respond_async(self) -> bool:
        """Whether the answer may come later."""
        return any(word.partition(";")[0].strip().lower() == "respond-async" for word in self.prefer.split(","))


def accept_of(request: Request) -> str | None:
    """The Accept header, also where it comes in several lines."""
    return ", ".join(request.headers.getlist("accept")) or None


@router.post(
    "/restore",
    summary="Restore a picture",
    response_class=Response,
    responses=picture_answers("Envelope") | ALL_PROBLEMS,
    openapi_extra=once_asked(lambda: {"requestBody": restore_body(), **asked_by(query=RestoreParameters, header=Preferences)}),
)
async def restore(request: Request) -> Response:
    """The picture is the body itself, the multipart part `image`, or base64 in JSON; the answer has its width and height."""
    gateway, context = gateway_of(request), context_of(request)
    query, preferences = from_query(RestoreParameters, request), from_headers(Preferences, request)
    with gateway.drain.track():
        parameters, image, mask, output_url = await read_restore(request, query, request.app.state.references)
        models = gateway.restoration.check_restore(parameters, image)
        usual = usual_format(parameters, sniff(image))
        shape, kind = negotiate(accept_of(request), parameters.format, media_type(request) == JSON, usual)
        if output_url is not None and shape == "picture":
            raise NotAcceptable(f"with output_url the answer is {JSON}, as the picture goes elsewhere")
        if preferences.respond_async:
            model = AUTO if parameters.is_auto else ", ".join(model.spec.name for model in models)
            job = _job_of(context, preferences, "restore", parameters, parameters, kind, shape == "json", model, image, mask)
            return await _submit(request, job, image, mask)
        _check_no_webhook(parameters)
        run = partial(gateway.restoration.restore, parameters, image, mask, kind, context)
        finish = partial(_finish, request, context, output_url=output_url)
        if shape == "events":
            return _stream(request, run, finish)
        async with responses.cancelled_when_gone(request):
            result = await run()
        return _to_response(context, await finish(result, as_json=shape == "json"))


@router.post(
    "/analyse",
    summary="Say what is wrong with a picture",
    response_class=JSONResponse,
    responses=analysis_answer() | problems(400, 401, 404, 408, 413, 415, 422, 424, 429, 500, 503, 504),
    openapi_extra=once_asked(lambda: {"requestBody": analysis_body(), **asked_by()}),
)
async def analyse(request: Request) -> Response:
    """Facts of the file and its pixels, the probability of each fault, and the plan of `task=auto`; nothing is restored.

    The picture comes as for /restore; nothing is said beside it.
    """
    gateway, context = gateway_of(request), context_of(request)
    with gateway.drain.track():
        image = await read_picture(request, request.app.state.references)
        async with responses.cancelled_when_gone(request):
            analysis = await gateway.restoration.analyse(image, context)
        return JSONResponse(analysis.document())


@router.post(
    "/generate",
    summary="Generate pictures",
    response_class=Response,
    responses=picture_answers("Envelope", "Pictures") | ALL_PROBLEMS,
    openapi_extra=once_asked(lambda: {"requestBody": generate_body(), **asked_by(query=GenerateParameters, header=Preferences)}),
)
async def generate(request: Request) -> Response:
    """One PNG, or JSON for several. The same seed gives the same bytes."""
    gateway, context = gateway_of(request), context_of(request)
    query, preferences = from_query(GenerateParameters, request), from_headers(Preferences, request)
    with gateway.drain.track():
        as_json = media_type(request) == JSON
        if not as_json and await request.body():
            raise UnsupportedMedia(f"a body of {media_type(request)[:80]!r} is not read here; expected none, or {JSON}")
        sent = validated(GenerateBody, await json_body(request), query).parameters() if as_json else query
        parameters = sent if sent.seed is not None else sent.model_copy(update={"seed": random_seed()})
        several = parameters.n > 1 and not parameters.grid
        shape, kind = negotiate(accept_of(request), parameters.format, several or as_json, FORMATS["png"])
        if shape == "picture" and several:
            raise NotAcceptable(f"several pictures come as {JSON}, or as one with grid=true")
        model = gateway.restoration.check_generate(parameters).spec.name
        if preferences.respond_async:
            job = _job_of(context, preferences, "generate", sent, parameters, kind, several or shape == "json", model)
            return await _submit(request, job)
        _check_no_webhook(parameters)
        run = partial(gateway.restoration.generate, parameters, kind, context)
        finish = partial(_finish, request, context, several=several)
        if shape == "events":
            return _stream(request, run, finish)
        async with responses.cancelled_when_gone(request):
            result = await run()
        return _to_response(context, await finish(result, as_json=shape == "json"))


def _check_no_webhook(parameters: CommonParameters) -> None:
    if parameters.webhook is not None:
        raise InvalidValue("webhook is for jobs only; expected the header Prefer: respond-async beside it")


def _stream(request: Request, run: Run, finish: Callable[..., Coroutine[Any, Any, StoredResponse]]) -> Response:
    """The steps as events, and at last the envelope."""
    gateway = gateway_of(request)

    async def tracked(on_step: Listener) -> RequestResult:
        with gateway.drain.track():
            return await run(on_step)

    async def to_envelope(result: RequestResult) -> str:
        return (await finish(result, as_json=True)).body.decode()

    return responses.events_response(request, tracked, responses.restoration_wording(to_envelope))


async def _finish(
    request: Request,
    context: RequestContext,
    result: RequestResult,
    *,
    as_json: bool,
    several: bool = False,
    output_url: str | None = None,
) -> StoredResponse:
    """The result as a response, once it lies where it is to go."""
    if output_url is not None:
        await request.app.state.references.write(output_url, result.images[0], result.kind.media_type)
    return await gateway_of(request).finish(
        context.caller,
        result,
        as_json=as_json,
        several=several,
        prefix=prefix_of(request.scope),
        delivered_to=output_url,
    )


def _to_response(context: RequestContext, finished: StoredResponse) -> Response:
    response = responses.response_of(finished)
    response.headers.update(context.headers())
    return response


def _job_of(
    context: RequestContext,
    preferences: Preferences,
    kind: Literal["restore", "generate"],
    sent: CommonParameters,
    parameters: RestoreParameters | GenerateParameters,
    picture_format: PictureFormat | None,
    as_json: bool,
    model: str,
    image: bytes | None = None,
    mask: bytes | None = None,
) -> Job:
    """sent: the parameters before a seed was drawn."""
    accept = picture_format.name if picture_format else None
    return new_job(
        caller=context.caller,
        kind=kind,
        parameters=parameters.model_dump_json(exclude_none=True),
        accept=accept,
        as_json=as_json,
        fingerprint=fingerprint(f"{kind} {sent.model_dump_json(exclude_none=True)}", f"{accept} {as_json}", image, mask),
        bytes=len(image or b"") + len(mask or b""),
        key=preferences.idempotency_key,
        model=model,
        seed=parameters.seed,
        webhook=parameters.webhook,
    )


async def _submit(request: Request, job: Job, image: bytes | None = None, mask: bytes | None = None) -> Response:
    if job.webhook is not None:
        request.app.state.webhooks.check(job.webhook)
    jobs = jobs_of(request)
    document = below(prefix_of(request.scope), jobs.document(await jobs.submit(job, image, mask)))
    headers = {"Location": document["links"]["self"], "Preference-Applied": "respond-async"}
    return JSONResponse(document, status_code=202, headers=headers)
