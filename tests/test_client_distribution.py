"""rddm-client is installed alone: its wheel, what that asks for, nothing of the server; it restores on a running gateway."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.on_port import live

RESTORES = """
import sys
from pathlib import Path
from rddm_client import Client, Step
steps = []
with Client(sys.argv[1]) as client:
    print([model.name for model in client.models()])
    restored = client.restore(Path(sys.argv[2]), on_step=steps.append)
assert all(isinstance(step, Step) for step in steps) and steps
Path(sys.argv[3]).write_bytes(restored.image)
foreign = {"service", "rddm", "numpy", "PIL", "fastapi", "pydantic"} & set(sys.modules)
assert not foreign, foreign
"""


def wheel_of(root: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=root / "client", check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def needed(requirements: list[str]) -> set[str]:
    """The distributions that the requirements ask for, and those that these ask for, without extras."""
    waiting, names = [Requirement(line) for line in requirements], set()
    while waiting:
        requirement = waiting.pop()
        if requirement.name in names or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        names.add(requirement.name)
        waiting += [Requirement(line) for line in distribution(requirement.name).requires or ()]
    return names


@pytest.fixture
def python(root: Path, tmp_path: Path) -> Path:
    """A fresh environment with the client's wheel and copies of what its metadata asks for."""
    wheel = wheel_of(root, tmp_path)
    venv.create(tmp_path / "fresh", symlinks=True)
    [packages] = (tmp_path / "fresh").glob("lib/*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    for name in needed(re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE)):
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), packages / file)
    return tmp_path / "fresh" / "bin" / "python"


def test_the_client_alone_restores_on_a_running_gateway(python: Path, tmp_path: Path) -> None:
    (tmp_path / "dark.png").write_bytes(file_of(pixels_of(24, 40)))
    with live(settings_for(tmp_path / "gateway")) as gateway:
        argv = [gateway.url, str(tmp_path / "dark.png"), str(tmp_path / "light.png")]
        done = subprocess.run([python, "-I", "-c", RESTORES, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "light.png").read_bytes().startswith(b"\x89PNG")


def test_client_and_server_have_one_version_and_ask_for_one_httpx(root: Path) -> None:
    server, client = (
        tomllib.loads(root.joinpath(path).read_text())["project"] for path in ("pyproject.toml", "client/pyproject.toml")
    )
    assert client["version"] == server["version"]
    assert set(client["dependencies"]) <= set(server["dependencies"])
