"""Lines of the log: JSON, with ids, and without what callers sent."""

import json
import logging

import pytest

from service.telemetry.logs import JsonLines, configure, frames
from service.telemetry.requests import REQUEST_ID


def line_of(error: BaseException | None = None, **facts: object) -> dict[str, object]:
    record = logging.LogRecord("rddm.x", logging.WARNING, "file.py", 1, "%s is %d", ("it", 7), None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    if facts:
        record.facts = facts
    body = json.loads(JsonLines().format(record))
    assert isinstance(body, dict)
    return body


def test_a_line_has_its_time_level_logger_and_message() -> None:
    line = line_of()
    assert (line["level"], line["logger"], line["message"], line["request_id"]) == ("warning", "rddm.x", "it is 7", "-")
    assert str(line["time"]).endswith("+00:00")


def test_facts_and_the_requests_id_are_members() -> None:
    token = REQUEST_ID.set("r-1")
    try:
        assert line_of(status=200, seconds=0.5).items() >= {"request_id": "r-1", "status": 200, "seconds": 0.5}.items()
    finally:
        REQUEST_ID.reset(token)


def broken() -> None:
    raise KeyError("what a caller sent")


def test_an_error_is_logged_by_its_type_and_places_and_not_by_its_words() -> None:
    with pytest.raises(KeyError) as caught:
        broken()
    trace = line_of(caught.value)["error"]
    assert trace == frames(caught.value)
    assert trace[0] == "KeyError"
    assert trace[-1].startswith("broken (test_logs.py:")
    assert "what a caller sent" not in json.dumps(trace)


def test_everything_goes_to_standard_error_and_webhooks_addresses_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    names = ("httpx2", "uvicorn", "uvicorn.error", "uvicorn.access")
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names}
    root.handlers = []
    try:
        configure("info")
        logging.getLogger("rddm.y").info("hello")
        logging.getLogger("httpx2").info("https://secret")
        assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["hello"]
        assert not logging.getLogger("uvicorn.access").propagate
    finally:
        root.handlers, root.level = handlers, level
        for name, (was, propagates) in before.items():
            logging.getLogger(name).setLevel(was)
            logging.getLogger(name).propagate = propagates
