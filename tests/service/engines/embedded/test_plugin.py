"""Plug-in execution providers: what is none is refused in words; one that offers a device serves if its golden answers are right.

A real plug-in runs with -m slow, where its package is installed and offers a device.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import onnxruntime
import pytest
from pydantic import ValidationError

from service.engines.embedded import plugin
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.embedded.plugin import PluginRuntime, devices_of, find_library
from service.engines.registry import open_engine
from service.errors import EngineUnavailable
from service.settings import Settings
from tests.calls import Asking


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package onnxruntime-ep-fake, whose library is no library."""
    library = tmp_path / "libfake.so"
    library.write_bytes(b"none")
    module = ModuleType("onnxruntime_ep_fake")
    module.get_library_path = lambda: str(library)  # type: ignore[attr-defined]
    module.get_ep_names = lambda: ["Fake.Second", "Fake"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(plugin.importlib.util, "find_spec", lambda name: name == module.__name__ or None)
    return library


@dataclass
class Device:
    """As ONNX Runtime describes one."""

    ep_name: str
    ep_metadata: dict[str, str] = field(default_factory=lambda: {"version": "3"})
    device: Any = field(default_factory=lambda: onnxruntime.get_ep_devices()[0].device)


def test_a_library_is_a_path_or_the_one_of_a_package(package: Path, tmp_path: Path) -> None:
    assert find_library(str(package)).path == package.resolve()
    assert find_library("fake").names == ("Fake.Second", "Fake")
    for wrong in ("nope", str(tmp_path / "nope.so"), "a-b"):
        with pytest.raises(EngineUnavailable, match=f"no execution provider {wrong!r}; expected the path of a library"):
            find_library(wrong)


def test_what_is_no_library_is_refused_with_its_path(package: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"libfake\.so is no execution provider for ONNX Runtime"):
        PluginRuntime("fake", {})


def test_the_first_device_of_the_first_provider_is_taken(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = (Device("Fake"), Device("Fake.Second"), Device("Fake.Second"))
    monkeypatch.setattr(plugin, "register", lambda _: offered)
    assert devices_of(find_library("fake"))[0] is offered[1]
    assert devices_of(find_library(str(package)))[0] is offered[0]
    assert PluginRuntime("fake", {"a": "b"}).label == "Fake.Second 3 [('a', 'b')]"


def test_a_plugin_without_a_device_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "register", lambda _: ())
    with pytest.raises(EngineUnavailable, match=r"libfake\.so offers no device on this machine"):
        PluginRuntime("fake", {})


async def test_onnx_runtimes_own_device_serves_as_a_plugins_would(
    repository: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider of the CPU is a device, too, and takes the way of a plug-in from there on."""
    monkeypatch.setattr(plugin, "register", lambda _: tuple(onnxruntime.get_ep_devices()[:1]))
    engine = EmbeddedEngine(repository, Threads(1), PluginRuntime(str(package), {}))
    plain = EmbeddedEngine(repository, Threads(1))
    for one in (engine, plain):
        await one.start()
    assert (await Asking(engine).tiny()).tobytes() == (await Asking(plain).tiny()).tobytes()
    assert "CPUExecutionProvider" in engine.identity
    assert engine.identity != plain.identity
    for one in (engine, plain):
        await one.close()


@pytest.mark.slow
async def test_a_real_plugin_serves_what_its_golden_answers_allow(repository: Path) -> None:
    pytest.importorskip("onnxruntime_ep_openvino", reason="the package onnxruntime-ep-openvino is not installed")
    try:
        runtime = PluginRuntime("openvino", {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'})
    except EngineUnavailable as none:
        pytest.skip(str(none))
    engine = EmbeddedEngine(repository, Threads(1), runtime)
    await engine.start()
    assert "tiny" in engine.models()
    await Asking(engine).tiny(2)
    await engine.close()


def test_settings_open_a_plugin_and_refuse_what_contradicts_it(package: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RDDM_EXECUTION_PROVIDER", "fake")
    monkeypatch.setenv("RDDM_EXECUTION_PROVIDER_OPTIONS", '{"load_config": "{}"}')
    monkeypatch.setattr(plugin, "register", lambda _: (Device("Fake"),))
    engine, _ = open_engine(Settings(model_repository=tmp_path))
    assert "Fake 3 [('load_config', '{}')]" in engine.identity
    with pytest.raises(ValidationError, match="execution_provider is for --engine embedded --device cpu; they are 'triton', 'cpu'"):
        Settings(engine="triton")
    monkeypatch.delenv("RDDM_EXECUTION_PROVIDER")
    with pytest.raises(ValidationError, match="options are set without execution_provider"):
        Settings()
