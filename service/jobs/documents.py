"""A job as callers see it."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from service.jobs.store import Job


def job_document(job: Job, public_url: str = "") -> dict[str, Any]:
    """public_url: what the links begin with."""
    base = f"{public_url}/jobs/{job.id}"
    document: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "kind": job.kind,
        "step": job.step,
        "steps": job.steps,
        "progress": _progress(job),
        "eta": _iso(job.eta) if job.eta is not None and job.status == "running" and not _has_stages(job) else None,
        "created_at": _iso(job.created),
        "expires_at": _iso(job.expires),
        "model": job.model,
        "seed": job.seed,
        "links": {"self": base, "events": f"{base}/events", "result": f"{base}/result"},
    }
    document |= {} if job.clip is None else {"clip": job.clip}
    return document if job.problem is None else {**document, "problem": job.problem}


def _progress(job: Job) -> float | None:
    """A clip's steps are its frames. Of several models the tiles are those of one, and the steps those of all."""
    if job.status == "succeeded":
        return 1.0
    return round(job.step / job.steps, 4) if (job.kind == "video" or _has_stages(job)) and job.steps else job.progress


def _has_stages(job: Job) -> bool:
    return ", " in (job.model or "")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def fingerprint(parameters: str, accept: str, image: bytes | None = None, mask: bytes | None = None) -> str:
    """What makes two requests the same one. image, mask: the files of one that restores."""
    digest = hashlib.sha256(f"{parameters}\0{accept}".encode())
    for part in () if image is None else (image, mask):
        digest.update(hashlib.sha256(part or b"").digest())
    return digest.hexdigest()
