"""What there is, and whether it works: models, health, metrics, results."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from fastapi.responses import Response

from service.api.dependencies import ContextDependency, GatewayDependency, find, problems
from service.health import ALIVE
from service.pictures.formats import ALL_FORMATS
from service.restoration.catalogue import facts_of, format_facts

router = APIRouter()


@router.get("/models", tags=["models"], responses=problems(401))
async def models(gateway: GatewayDependency, _: ContextDependency) -> dict[str, Any]:
    """Every model: task, steps, size rules, licence, digest; those that task auto plans with; the picture formats."""
    listed = [facts_of(gateway.settings, model) for _, model in sorted(gateway.repository.models().items())]
    formats = [format_facts(record) for record in ALL_FORMATS.values()]
    choice = gateway.restoration.models
    return {"default": choice.default_model(), "auto": list(choice.plannable()), "models": listed, "formats": formats}


@router.get("/models/{name}", tags=["models"], responses=problems(401, 404))
async def model(name: str, gateway: GatewayDependency, _: ContextDependency) -> dict[str, Any]:
    """One model."""
    return facts_of(gateway.settings, find(gateway, name))


@router.get("/healthz", tags=["health"])
@router.get("/v2/health/live", tags=["health"])
async def live() -> dict[str, str]:
    """The process answers."""
    return ALIVE


@router.get("/readyz", tags=["health"], responses=problems(503))
@router.get("/v2/health/ready", tags=["health"], responses=problems(503))
async def ready(gateway: GatewayDependency, require: Literal["all", "any"] = "all") -> dict[str, Any]:
    """Every loaded model gave the right answer to its golden picture a moment ago, or any of them did.

    `any` is what a load balancer asks: a gateway that has one failing model still answers for the others.
    """
    return await gateway.ready(any_model=require == "any")


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(gateway: GatewayDependency) -> Response:
    """Prometheus metrics."""
    await gateway.readiness.refresh()
    text, media_type = gateway.metrics.exposition()
    return Response(text, headers={"Content-Type": media_type})


@router.get(
    "/results/{result}",
    tags=["pictures"],
    response_class=Response,
    responses={304: {"description": "not changed"}, **problems(401, 404)},
)
async def result(
    result: str, gateway: GatewayDependency, context: ContextDependency, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A finished picture again, for the key that it was made with, while it is kept."""
    answer = await gateway.responses.get(context.caller, result)
    headers = {**answer.headers, "ETag": answer.etag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and (
        if_none_match.strip() == "*" or answer.etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    ):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, headers=headers, media_type=answer.media_type)
