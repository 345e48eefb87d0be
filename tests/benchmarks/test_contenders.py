"""Contenders are started on ports that the system chooses."""

import httpx2

from benchmarks.contenders import server
from tests.conftest import ROOT


def test_a_peer_says_where_it_listens() -> None:
    arguments = [str(ROOT / "model_repository"), "emoji", "1"]
    with server(["benchmarks.peers.plain_handler", *arguments], "/ready") as (process, url):
        assert httpx2.get(f"{url}/ready").json() == "ready"
    assert not process.is_running()
