"""The process serves at once; what its first picture waits for is started then, and ended with it."""

import time
from pathlib import Path

from tests.service.conftest import settings_for
from tests.service.live import live


def test_a_process_for_pictures_is_started_once_requests_are_taken_and_ends_with_the_server(tmp_path: Path) -> None:
    with live(settings_for(tmp_path)) as served:
        assert served.client.get("/readyz").status_code == 200
        idle = served.app.state.gateway.codecs._idle
        until = time.monotonic() + 60
        while not any(worker is not None for worker in idle._idle):
            assert time.monotonic() < until, "no process was started"
            time.sleep(0.05)
        [worker] = [worker for worker in idle._idle if worker is not None]
        assert worker.process.returncode is None
    assert worker.process.returncode is not None


def test_a_server_that_ends_before_its_process_is_there_leaves_none_behind(tmp_path: Path) -> None:
    with live(settings_for(tmp_path)) as served:
        codecs, warming = served.app.state.gateway.codecs, served.server._warming
    assert warming is not None
    assert warming.done()
    assert len(codecs._idle) == 0
