"""The path below which a proxy offers this service: what a request is told of it, and answers that stay below it."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.restoration.documents import JSON, to_json
from service.results.stored import StoredResponse

PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")  # one slash at a time: `//host` would lead to another host
LONGEST_PREFIX = 200
REFERENCES = ("location", "content-location")


def prefix_of(scope: Scope) -> str:
    """The path below which callers reach the service, without a slash at its end; empty without a proxy."""
    return str(scope.get("app_root_path", scope.get("root_path", "")))


def route_of(scope: Scope) -> str:
    """The request's path below the prefix."""
    return str(scope["path"]).removeprefix(prefix_of(scope))


def below(prefix: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A job, or the envelope of a picture or of several, with its references below the prefix."""
    moved = dict(document)
    if "links" in document:
        moved["links"] = {name: _moved(prefix, reference) for name, reference in document["links"].items()}
    if "location" in document:
        moved["location"] = _moved(prefix, document["location"])
    if "images" in document:
        moved["images"] = [below(prefix, image) for image in document["images"]]
    return moved


def response_below(prefix: str, response: StoredResponse) -> StoredResponse:
    """A kept response, whose envelope was written before anybody asked for it, with its references below the prefix."""
    if not prefix or response.media_type != JSON:
        return response
    return replace(response, body=to_json(below(prefix, json.loads(response.body))).encode())


def _moved(prefix: str, reference: str) -> str:
    """A path of this host below the prefix; references that name a host are whole already."""
    return prefix + reference if reference.startswith("/") else reference


class PrefixMiddleware:
    """Sets ASGI's root_path, and puts it before what answers refer to. Redirects to this host name none: a proxy has another.

    A proxy that cuts its prefix off says so in X-Forwarded-Prefix. Without that header the setting counts, whether the proxy cuts
    it off or not.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, (prefix, path) = headers.get("host", ""), self._located(headers, scope["path"])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _place_references(MutableHeaders(scope=message), host, prefix)
            await send(message)

        located = {**scope, "root_path": prefix, "path": path, "raw_path": path.encode()} if prefix else scope
        await self._app(located, receive, answer)

    def _located(self, headers: Headers, path: str) -> tuple[str, str]:
        """The prefix, and the path with it."""
        forwarded = headers.get("x-forwarded-prefix", "").partition(",")[0].strip().rstrip("/")
        if len(forwarded) <= LONGEST_PREFIX and PREFIX.fullmatch(forwarded):
            return forwarded, forwarded + path
        is_whole = path == self._root_path or path.startswith(f"{self._root_path}/")
        return self._root_path, path if is_whole else self._root_path + path


def _place_references(headers: MutableHeaders, host: str, prefix: str) -> None:
    for name in REFERENCES:
        reference = headers.get(name, "")
        parts = urlsplit(reference)
        if host and parts.netloc == host and not parts.path.startswith("//"):  # a redirect, which has the prefix already
            headers[name] = parts._replace(scheme="", netloc="").geturl()
        elif reference.startswith("/") and not reference.startswith((f"{prefix}/", "//")):
            headers[name] = prefix + reference
