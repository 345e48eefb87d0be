"""The environment of the plain tritonserver."""

import time
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
