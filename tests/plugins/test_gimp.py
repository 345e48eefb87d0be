"""GIMP's plug-in as far as it goes without GIMP: what it sends to a real gateway, and what it says when that fails.

GIMP's API is a stub of empty names here: layers and files were tried in GIMP 3.0.4 itself (docs/gimp.md).
"""

import ast
import importlib.util
import io
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.on_port import Live, live

FILE = Path(__file__).resolve().parents[2] / "plugins" / "gimp" / "rddm-restore" / "rddm-restore.py"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    keys = f"anna {sha256(b'correct-horse').hexdigest()}\n"
    with live(settings_for(tmp_path_factory.mktemp("gimp"), keys=keys)) as running:
        yield running


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    gi, repository = ModuleType("gi"), ModuleType("gi.repository")
    gi.require_version = lambda _name, _version: None
    repository.Gimp = SimpleNamespace(PlugIn=object)
    repository.Gio = repository.GLib = repository.GObject = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "gi", gi)
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    specification = importlib.util.spec_from_file_location("rddm_restore", FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_layer_comes_back_restored_at_its_size(plug_in: ModuleType, gateway: Live) -> None:
    answer = plug_in.restore(gateway.url + "/", file_of(pixels_of(24, 40)), "lowlight", 1, "correct-horse")
    with Image.open(io.BytesIO(answer)) as picture:
        assert (picture.format, picture.size) == ("PNG", (40, 24))
        assert np.abs(np.asarray(picture.convert("RGB"), int) - pixels_of(24, 40) - 64).max() <= 1  # what the fake network adds


@pytest.mark.parametrize(
    ("task", "steps", "key", "words"),
    [
        ("frost", 0, "correct-horse", "unknown task 'frost'; expected one of"),
        ("lowlight", 99, "correct-horse", "steps = 99"),
        ("lowlight", 0, None, "no API key was sent"),
    ],
)
def test_what_the_gateway_refuses_is_said_in_its_words(
    plug_in: ModuleType, gateway: Live, task: str, steps: int, key: str | None, words: str
) -> None:
    with pytest.raises(plug_in.RefusedError, match=words):
        plug_in.restore(gateway.url, file_of(pixels_of(8, 8)), task, steps, key)


@pytest.mark.parametrize(("server", "words"), [("http://127.0.0.1:9", "does not answer"), ("file:///etc/passwd", "is no address")])
def test_a_server_that_is_none_is_named(plug_in: ModuleType, server: str, words: str) -> None:
    with pytest.raises(plug_in.RefusedError, match=words):
        plug_in.restore(server, b"", "", 0, None)


def test_the_plug_in_lies_as_gimp_wants_it_and_needs_gimp_only() -> None:
    assert FILE.parent.name == FILE.stem
    assert FILE.stat().st_mode & 0o111
    imports = [node for node in ast.walk(ast.parse(FILE.read_text("utf-8"))) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name if isinstance(node, ast.Import) else node.module for node in imports for alias in node.names}
    assert {name.partition(".")[0] for name in names if name} - sys.stdlib_module_names == {"gi"}
