"""Clips on a running gateway: sent from a file, waited for, and fetched into a file; none is ever held in memory whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2

from .errors import ClientError, Problem, Unreachable, problem_of
from .operations import to_address, to_headers

POLL_SECONDS = 1.0
PIECE = 1 << 20
TIMEOUT = httpx2.Timeout(60, read=300, write=300)


class JobFailed(ClientError):
    """The job ended without a clip."""


async def restore_clip(
    source: Path, target: Path, base_url: str, api_key: str | None, on_frame: Callable[[int, int], None], **parameters: Any
) -> dict[str, Any]:
    """The clip at target, whole or not at all; what the finished job says. on_frame: called with frames done, and of all or 0.

    parameters: as of POST /restore/video. Cancelling the task cancels the job. Raises ClientError and OSError.
    """
    async with httpx2.AsyncClient(base_url=to_address(base_url), headers=to_headers(api_key), timeout=TIMEOUT) as http:
        job = await _sent(http, source, parameters)
        try:
            job = await _ended(http, job, on_frame)
            await _fetched(http, job, target)
        finally:
            await asyncio.shield(_ask(http, "DELETE", job["links"]["self"]))
        return job


async def _sent(http: httpx2.AsyncClient, source: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    headers = {"content-type": "application/octet-stream", "content-length": str((await asyncio.to_thread(source.stat)).st_size)}
    response = await _ask(http, "POST", "/restore/video", params=parameters, content=_pieces(source), headers=headers)
    return dict(response.json())


async def _pieces(source: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(source.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


async def _ended(http: httpx2.AsyncClient, job: dict[str, Any], on_frame: Callable[[int, int], None]) -> dict[str, Any]:
    while job["status"] in {"queued", "running"}:
        await asyncio.sleep(POLL_SECONDS)
        job = dict((await _ask(http, "GET", job["links"]["self"])).json())
        on_frame(job["step"], job["steps"] or 0)
    if job["status"] != "succeeded":
        problem = job.get("problem") or {}
        raise JobFailed(f"the job {job['status']}: {problem.get('detail', 'no reason was given')}")
    return job


async def _fetched(http: httpx2.AsyncClient, job: dict[str, Any], target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        async with http.stream("GET", job["links"]["result"]) as response:
            if response.status_code != 200:
                await response.aread()
                raise problem_of(response)
            with await asyncio.to_thread(part.open, "wb") as file:
                async for piece in response.aiter_bytes(PIECE):
                    await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(part.replace, target)
    except httpx2.TransportError as broken:
        raise Unreachable(f"the clip's transfer broke off: {broken}") from broken
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


async def _ask(http: httpx2.AsyncClient, method: str, path: str, **facts: Any) -> httpx2.Response:
    try:
        response = await http.request(method, path, **facts)
    except httpx2.TransportError as broken:
        raise Unreachable(f"{http.base_url} does not answer: {broken}") from broken
    if response.status_code >= 400:
        problem: Problem = problem_of(response)
        raise problem
    return response
