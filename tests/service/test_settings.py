"""What an operator sets, from the environment and the command line, and what is refused in words."""

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import (
    Settings,
    cache_folder,
    is_loopback,
    is_webhook_secret,
    shipped_repository,
    state_folder,
    unknown_variables,
)

SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()


def test_the_environment_is_read_and_the_command_line_beats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDDM_PORT", "9000")
    monkeypatch.setenv("RDDM_TRITON_URLS", " a:1, b:2,, ")
    assert (Settings().port, Settings(port=7).port) == (9000, 7)
    assert Settings().triton_urls == ("a:1", "b:2")


def test_a_variable_may_be_written_small_and_is_read_as_its_setting_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("rddm_open", "true"), ("RDDM_INSTANCES", "3"), ("RDDM_JOBS_FILE", "/jobs"), ("Rddm_Keys", "secret")):
        monkeypatch.setenv(name, text)
    settings = Settings()
    assert (settings.open, settings.instances, settings.jobs_file) == (True, 3, Path("/jobs"))
    assert settings.keys is not None
    assert settings.keys.get_secret_value() == "secret"
    assert {"open", "instances", "jobs_file", "keys"} == settings.model_fields_set


def test_options_of_a_provider_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDDM_EXECUTION_PROVIDER", "some")
    monkeypatch.setenv("RDDM_EXECUTION_PROVIDER_OPTIONS", '{"a": "1"}')
    assert Settings().execution_provider_options == {"a": "1"}
    for text, reason in (("{", "options = '{': expected a JSON object of texts"), ("[1]", "valid dictionary")):
        monkeypatch.setenv("RDDM_EXECUTION_PROVIDER_OPTIONS", text)
        with pytest.raises(ValidationError, match=reason):
            Settings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "magic"}, "must be one of ['embedded'"),
        ({"port": 70_000}, "less than or equal to 65535"),
        ({"precision": "bf16"}, "precision bf16 is for --engine openvino; the engine is 'embedded'"),
        ({"engine": "openvino", "device": "cuda"}, "the engine openvino runs on the CPU; device is 'cuda'"),
        ({"device": "tpu"}, "should match pattern"),
        ({"webhook_hosts": "a.example"}, "webhook_hosts is set without webhook_secret"),
        ({"webhook_secret": "secret"}, "expected whsec_ and base64 of 24 to 64 bytes"),
        ({"database_url": "postgresql://a/b", "jobs_file": "x"}, "exclude one another"),
        ({"database_url": "mysql://a/b"}, "begins with none of ['postgresql://', 'postgres://']"),
        ({"root_path": "/a//b"}, "should match pattern"),
        ({"public_url": "ftp://a"}, "should match pattern"),
        ({"max_pixelz": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        Settings(**changes)
    assert words in str(wrong.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings(webhook_secret=SECRET, keys="secret-key someone")  # type: ignore[arg-type]
    assert SECRET not in repr(settings)
    assert "secret-key" not in repr(settings)
    assert settings.has_keys


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("gateway", False)],
)
def test_a_public_address_needs_keys_unless_it_is_said_to_be_open(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    assert Settings(host=host).needs_keys != loopback
    assert not Settings(host=host, open=True).needs_keys
    assert not Settings(host=host, keys_file=Path("keys")).needs_keys


@pytest.mark.parametrize(("size", "is_one"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_has_24_to_64_bytes(size: int, is_one: bool) -> None:
    assert is_webhook_secret("whsec_" + base64.b64encode(b"0" * size).decode()) == is_one


def test_a_secret_is_base64() -> None:
    assert not is_webhook_secret("whsec_" + "!" * 40)
    assert not is_webhook_secret(SECRET.removeprefix("whsec_"))


def test_files_lie_in_the_folders_that_xdg_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert state_folder() == tmp_path / "state" / "rddm"
    assert Settings(port=81).jobs_path == state_folder() / "jobs-81.sqlite"
    assert Settings(port=81).clips_path == state_folder() / "jobs-81-clips"
    assert Settings(jobs_file=tmp_path / "j.db", clips_folder=tmp_path / "c").clips_path == tmp_path / "c"
    assert Settings().learned_path == cache_folder() / "learned.json"  # type: ignore[operator]
    assert Settings(learn=False).learned_path is None


def test_the_models_that_ship_are_there() -> None:
    assert (shipped_repository() / Settings().default_model).is_dir()


def test_a_variable_that_no_setting_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    before = unknown_variables()
    for name in ("RDDM_PORTT", "RDDM_PORT", "RDDM_API_KEY", "OTHER"):
        monkeypatch.setenv(name, "1")
    assert unknown_variables() == sorted([*before, "RDDM_PORTT"])
