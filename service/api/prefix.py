"""The path below which a proxy offers this service: in the scope of a request, and in what answers refer to."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

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


def located(scope: Scope, root_path: str) -> Scope:
    """The scope with ASGI's root_path and the whole path.

    A proxy that cuts its prefix off says so in X-Forwarded-Prefix. Without that header root_path counts, whether the proxy cuts it
    off or not.
    """
    prefix, path = _prefix_and_path(Headers(scope=scope), scope["path"], root_path)
    return {**scope, "root_path": prefix, "path": path, "raw_path": path.encode()} if prefix else scope


def _prefix_and_path(headers: Headers, path: str, root_path: str) -> tuple[str, str]:
    forwarded = headers.get("x-forwarded-prefix", "").partition(",")[0].strip().rstrip("/")
    if len(forwarded) <= LONGEST_PREFIX and PREFIX.fullmatch(forwarded):
        return forwarded, forwarded + path
    is_whole = path == root_path or path.startswith(f"{root_path}/")
    return root_path, path if is_whole else root_path + path


def place_references(headers: MutableHeaders, scope: Scope) -> None:
    """Puts the prefix before what an answer refers to. Redirects to this host name no host: a proxy has another."""
    host, prefix = Headers(scope=scope).get("host", ""), scope.get("root_path", "")
    for name in REFERENCES:
        reference = headers.get(name, "")
        parts = urlsplit(reference)
        if host and parts.netloc == host and not parts.path.startswith("//"):  # a redirect, which has the prefix already
            headers[name] = parts._replace(scheme="", netloc="").geturl()
        elif reference.startswith("/") and not reference.startswith((f"{prefix}/", "//")):
            headers[name] = prefix + reference
