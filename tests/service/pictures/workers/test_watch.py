"""Which Python a worker is."""

import sys

import pytest

from service.pictures.workers.watch import interpreter


def test_a_worker_is_this_python_where_a_virtual_environment_has_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter() == (sys.executable, {})
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "_base_executable", sys.executable)
    assert interpreter() == (sys.executable, {})


def test_on_windows_the_python_behind_the_launcher_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the process that is watched and killed is the one that reads the picture."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "_base_executable", r"C:\Python313\python.exe")
    python, environment = interpreter()
    assert (python, environment) == (r"C:\Python313\python.exe", {"__PYVENV_LAUNCHER__": sys.executable})
