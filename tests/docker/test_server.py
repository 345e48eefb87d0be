"""The environment of the plain tritonserver."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docker.triton import server


def test_callers_at_once_make_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two test processes that start together used to clear each other's half-made environment."""
    makers = []

    def make(folder: Path) -> None:
        makers.append(folder)
        time.sleep(0.2)
        folder.mkdir()
        (folder / ".installed").touch()

    monkeypatch.setattr(server, "check_libpython", lambda: None)
    monkeypatch.setattr(server, "make_environment", make)
    folder = tmp_path / "new" / "environment"
    with ThreadPoolExecutor(3) as threads:
        packages = set(threads.map(lambda _: server.install(folder), range(3)))
    assert makers == [folder]
    assert packages == {server.install(folder)}


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(server.NotInstallable), server.locked(lock):
        raise server.NotInstallable("no room")
    with server.locked(lock):
        pass


class Starting:
    """A server whose start fails with one error after the other."""

    def __init__(self, ports: Sequence[int], errors: list[str]) -> None:
        self.ports, self.errors = ports, errors

    def start(self) -> None:
        if self.errors:
            raise RuntimeError(self.errors.pop())


def test_ports_that_were_taken_meanwhile_are_chosen_again() -> None:
    taken = ["failed to start HTTP service: Unavailable - Socket '127.0.0.1:59441' already in use"] * 2
    made: list[Starting] = []

    def make(ports: Sequence[int]) -> Starting:
        made.append(Starting(ports, taken))
        return made[-1]

    assert server.started(make, 3) is made[2]  # type: ignore[arg-type,comparison-overlap]
    assert all(len(set(one.ports)) == 3 for one in made)
    with pytest.raises(RuntimeError, match="already in use"):
        server.started(lambda ports: Starting(ports, ["already in use"] * 3), 2)  # type: ignore[arg-type,return-value]


def test_a_start_that_ended_on_a_lost_mutex_is_tried_again() -> None:
    lost = ["what():  boost::interprocess::lock_exception"]
    assert server.started(lambda ports: Starting(ports, lost), 2)  # type: ignore[arg-type,return-value]
    assert not lost


def test_a_start_that_failed_for_good_is_not_tried_again() -> None:
    with pytest.raises(RuntimeError, match="no room"):
        server.started(lambda ports: Starting(ports, ["no room"]), 3)  # type: ignore[arg-type,return-value]
