"""Loading and unloading models: for keys marked admin, or without keys for callers on this machine."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request

from service.api.dependencies import ContextDependency, GatewayDependency, problems
from service.errors import Forbidden
from service.keys import check_admin
from service.settings import is_loopback


async def administrator(request: Request, gateway: GatewayDependency, context: ContextDependency) -> None:
    """Raises Forbidden, also for what a page of another host makes a browser on this machine send.

    Where no key names the caller, the Host must be this machine too: a page's own name can be made to point here.
    """
    check_admin(context)
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Forbidden("pages of other hosts may not administer this service")
    if gateway.keyring.is_open and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise Forbidden(f"without keys this service is administered as localhost only, not as {host[:80]!r}")


router = APIRouter(
    prefix="/admin/models/{name}", tags=["admin"], dependencies=[Depends(administrator)], responses=problems(401, 403, 404, 503)
)


@router.post("/load")
@router.post("/reload")
async def load(name: str, gateway: GatewayDependency) -> dict[str, Any]:
    """Load the newest version on disk; the old one answers until the new one has given its golden answer."""
    model = await gateway.repository.load(name)
    gateway.scheduler.introduce(model)
    return {"name": name, "version": model.version, "digest": model.digest, "loaded": True}


@router.post("/unload")
async def unload(name: str, gateway: GatewayDependency) -> dict[str, Any]:
    """Take no new work for it."""
    with gateway.repository.lease(name) as model:
        await gateway.repository.unload(name)
    return {"name": name, "version": model.version, "digest": model.digest, "loaded": False}
