"""One table of engines, from which settings, command line and their words derive."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.cli.serve import serve
from service.engines import registry
from service.engines.embedded.engine import EmbeddedEngine
from service.engines.registry import ENGINES, open_engine
from service.engines.triton.engine import TritonEngine
from service.settings import Settings


def test_settings_and_command_line_offer_what_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValidationError, match=r"must be one of \['embedded', 'triton'"):
        Settings(engine="openwine")
    with pytest.raises(SystemExit):
        serve(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"--engine {{{','.join(ENGINES)}}}" in shown
    for kind in ENGINES.values():
        assert kind.summary in shown
        assert Settings(engine=kind.name).engine == kind.name


def test_instances_are_as_many_as_the_cores_have_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "usable_cores", lambda: 8)
    for threads, given, expected in ((1, None, 8), (3, None, 2), (16, None, 1), (1, 5, 5)):
        engine, _ = open_engine(Settings(model_repository=tmp_path, threads=threads, instances=given))
        assert isinstance(engine, EmbeddedEngine)
        assert (engine.instances, engine.threads.each) == (expected, threads)


def test_triton_is_opened_with_its_addresses() -> None:
    engine, _ = open_engine(Settings(engine="triton", triton_urls="one:8001, two:8001"))
    assert isinstance(engine, TritonEngine)
    assert engine.urls == ("one:8001", "two:8001")
    assert (dict(engine.events), dict(engine.broken)) == ({}, {})
