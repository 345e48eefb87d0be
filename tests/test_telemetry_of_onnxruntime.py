"""ONNX Runtime tells its makers nothing: its telemetry is off before anything of ours imports it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OURS = ["service.engines.embedded", "service.engines.embedded.sessions", "service.analysis.classifier", "export.release"]
CI_SIGNS = ("CI", "TF_BUILD", "GITHUB_ACTIONS")  # where it is off by itself
SCRIPT = "import importlib, os, sys; importlib.import_module(sys.argv[1]); import onnxruntime; print(os.environ[{!r}])"
VARIABLE = "ORT_DISABLE_TELEMETRY"


def left_in_home(module: str, home: Path, **environment: str) -> tuple[str, list[Path]]:
    """The variable's value and the files that a fresh process leaves which imports the module, and ONNX Runtime after it."""
    inherited = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "XDG_CACHE_HOME", *CI_SIGNS)}
    command = [sys.executable, "-c", SCRIPT.format(VARIABLE), module]
    ended = subprocess.run(command, env=inherited | {"HOME": str(home)} | environment, capture_output=True, text=True, check=True)
    return ended.stdout.strip(), [path for path in home.rglob("*") if path.is_file() and "onnxruntime" in str(path)]


@pytest.mark.parametrize("module", OURS)
def test_no_identifier_is_kept(module: str, tmp_path: Path) -> None:
    assert left_in_home(module, tmp_path) == ("1", [])


def test_a_choice_of_the_users_own_is_heeded(tmp_path: Path) -> None:
    assert left_in_home("service", tmp_path, ORT_DISABLE_TELEMETRY="0")[0] == "0"
