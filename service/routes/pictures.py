"""POST /restore and POST /generate."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from service import reply
from service.accept import JSON, Wanted, wanted
from service.errors import NotAcceptable
from service.house import House
from service.intake import json_body, media_type, read_restore, validated
from service.order import GenerateOrder, RestoreOrder
from service.pipeline import Listener
from service.routes.parts import AskedNow, HouseNow, problems
from service.studio import Asked, Made

router = APIRouter(tags=["pictures"])
Carry = Callable[[Listener | None], Coroutine[Any, Any, Made]]
ALL_PROBLEMS = problems(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)


@router.post("/restore", summary="Restore a picture", response_class=Response, responses=ALL_PROBLEMS)
async def restore(request: Request, house: HouseNow, asked: AskedNow, query: Annotated[RestoreOrder, Query()]) -> Response:
    """The picture is the body itself, the multipart part `image`, or base64 in JSON; the answer has its width and height."""
    with house.drain.order():
        order, sources = await read_restore(request, query)
        want = wanted(request.headers.get("accept"), order.format, media_type(request) == "application/json")
        house.studio.check_restore(order, sources)

        async def carry(on_step: Listener | None) -> Made:
            return await house.studio.restore(order, sources, want.kind, asked, on_step)

        return await answer(request, house, asked, want, carry, several=False)


@router.post("/generate", summary="Generate pictures", response_class=Response, responses=ALL_PROBLEMS)
async def generate(request: Request, house: HouseNow, asked: AskedNow, query: Annotated[GenerateOrder, Query()]) -> Response:
    """One PNG, or JSON for several. The same seed gives the same bytes."""
    with house.drain.order():
        order = query
        if media_type(request) == "application/json":
            order = validated(GenerateOrder, await json_body(request), query)
        several = order.n > 1 and not order.grid
        want = wanted(request.headers.get("accept"), order.format, several)
        house.studio.check_generate(order)

        async def carry(on_step: Listener | None) -> Made:
            return await house.studio.generate(order, want.kind, asked, on_step)

        return await answer(request, house, asked, want, carry, several)


async def answer(request: Request, house: House, asked: Asked, want: Wanted, carry: Carry, several: bool) -> Response:
    """Carry the order out, and give what came of it in the shape that is wanted."""
    if want.shape == "events":
        return reply.events_response(request, partial(_held, house, carry), partial(_told, house, asked, several))
    if want.shape == "picture" and several:
        raise NotAcceptable(f"several pictures come as {JSON}, or as one with grid=true")
    made = await reply.unless_gone(request, carry(None))
    house.metrics.made(made.model.spec.name, made.timings)
    locations = locations_of(house, asked, made)
    if want.shape == "picture":
        response = reply.picture_response(made, locations[0])
    else:
        response = reply.json_response(made, reply.envelope(made, locations, several))
    response.headers.update(asked.caller.headers())
    return response


def locations_of(house: House, asked: Asked, made: Made) -> list[str]:
    """Where the pictures can be got again."""
    return [reply.kept_at(house.answers, asked.caller.name, shot, made) for shot in made.shots]


async def _held(house: House, carry: Carry, on_step: Listener) -> Made:
    with house.drain.order():
        return await carry(on_step)


async def _told(house: House, asked: Asked, several: bool, made: Made) -> str:
    house.metrics.made(made.model.spec.name, made.timings)
    return reply.to_json(reply.envelope(made, locations_of(house, asked, made), several))
