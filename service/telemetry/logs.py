"""Logs as JSON lines with request and trace ids. They hold no pixels, keys, addresses' queries or file names."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from opentelemetry import trace

from service.telemetry.requests import REQUEST_ID


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = f"{span.trace_id:032x}"
        line |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = frames(record.exc_info[1])
        return json.dumps(line)


def frames(error: BaseException) -> list[str]:
    """The error's type and the places it went through. Its words may repeat what a caller sent, so they stay out."""
    places = [
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return [type(error).__name__, *places[-12:]]


def configure(level: str) -> None:
    """Send everything of this process to standard error as JSON lines; uvicorn's own access log is replaced by the middleware's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells the addresses of webhooks
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
