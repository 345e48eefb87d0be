"""docker/triton/serve.sh with stand-ins for the two programs that it calls."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in {
        "tritonserver": 'printf "%s\\n" "$@"',
        "rddm": '[ -e "$5/built" ] || { echo not built >&2; exit 1; }; echo "$5/gpu-tensorrt-1"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def serve(root: Path, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables}
    return subprocess.run([root / "docker/triton/serve.sh"], env=environment, capture_output=True, text=True, check=False)


def test_without_plans_the_models_are_served_as_they_are(root: Path, programs: Path) -> None:
    words = serve(root, programs, MODELS="/some/models").stdout.split()
    assert "--model-repository=/some/models" in words
    assert "--allow-client-shm=true" in words
    assert "--http-address=127.0.0.1" in words
    assert [word for word in words if word.startswith("--grpc-restricted-protocol=trace,logging:rddm=")]


def test_with_plans_their_repository_is_served(root: Path, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "built").touch()
    words = serve(root, programs, PLANS=str(tmp_path)).stdout.split()
    assert f"--model-repository={tmp_path}/gpu-tensorrt-1" in words


def test_plans_that_are_missing_are_an_error_and_not_a_slower_server(root: Path, programs: Path, tmp_path: Path) -> None:
    done = serve(root, programs, PLANS=str(tmp_path))
    assert done.returncode != 0
    assert "not built" in done.stderr
    assert done.stdout == ""
