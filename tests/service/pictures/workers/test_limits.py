"""What a worker may take, as far as the system can bound it."""

import ctypes
import sys

import pytest

from service.pictures.workers import limits
from service.pictures.workers.limits import bounds_memory, confine, has_resource

resource = pytest.importorskip("resource")  # POSIX only


@pytest.fixture
def set_limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """What would be set, without setting it."""
    kept: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", kept.__setitem__)
    return kept


def test_linux_bounds_memory_files_and_core_files(set_limits: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    confine(1 << 30, 9)
    assert set_limits == {resource.RLIMIT_AS: (1 << 30,) * 2, resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_FSIZE: (9, 9)}


def test_macos_bounds_no_memory(set_limits: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not bounds_memory()
    confine(1 << 30)
    assert resource.RLIMIT_AS not in set_limits
    assert set_limits[resource.RLIMIT_FSIZE] == (0, 0)


def test_without_resource_nothing_is_bounded(set_limits: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.importlib.util, "find_spec", lambda _: None)
    assert not has_resource()
    assert not bounds_memory()
    confine(1 << 30)
    assert set_limits == {}


def test_windows_bounds_a_worker_by_a_job_object(set_limits: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    joined = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: name, raising=False)
    monkeypatch.setattr(limits.job_object, "join", lambda *arguments: joined.append(arguments))
    assert not bounds_memory()  # so it is watched, too
    confine(1 << 30)
    assert (joined, set_limits) == ([("kernel32", 1 << 30)], {})
