"""Errors in words with an exit status; settings and parameters from what was typed."""

from pathlib import Path
from typing import Any

import pytest

from service.cli.verb import Refused, local_settings, parameters_of, run_verb, settings_of
from service.errors import InvalidValue, TooLarge, UnknownModel
from service.restoration.parameters import RestoreParameters


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (Refused("change this"), 2, "rddm: change this\n"),
        (TooLarge("too large"), 1, "rddm: too large\n"),
        (InvalidValue("steps = 9"), 2, "rddm: steps = 9\n"),
        (UnknownModel("unknown task"), 2, "rddm: unknown task\n"),
        (OSError("no space"), 1, "rddm: no space\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_verb_is_a_status_and_a_line(
    capsys: pytest.CaptureFixture[str], raised: BaseException, status: int, words: str
) -> None:
    def verb(_: object) -> int:
        raise raised

    assert run_verb(verb, []) == status
    assert capsys.readouterr().err == words


def test_a_fault_of_ours_is_not_hidden() -> None:
    def verb(_: object) -> int:
        raise KeyError("a fault")

    with pytest.raises(KeyError):
        run_verb(verb, [])
    assert run_verb(len, ["a", "b"]) == 2


def test_settings_that_are_refused_are_named_with_their_value() -> None:
    assert settings_of(port=7, host=None).port == 7
    with pytest.raises(Refused, match=r"settings: port = 70000: input should be less than or equal to 65535"):
        settings_of(port=70_000)


def test_a_repository_is_a_folder_of_models_and_for_work_here(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no models; expected a folder each, with a config.pbtxt"):
        local_settings(None, tmp_path)
    (tmp_path / "rain").mkdir()
    (tmp_path / "rain" / "config.pbtxt").touch()
    assert local_settings(None, tmp_path)(threads=2).model_repository == tmp_path
    with pytest.raises(Refused, match="none is no folder of models"):
        local_settings(None, tmp_path / "none")
    with pytest.raises(Refused, match="--model-repository is for work here"):
        local_settings("http://gateway", tmp_path)


def test_parameters_that_are_refused_are_named_with_their_value() -> None:
    assert parameters_of(RestoreParameters, steps=3, task=None).steps == 3
    with pytest.raises(Refused, match="steps = 0: expected a whole number from 1 to 1000; quality = 101: "):
        parameters_of(RestoreParameters, steps=0, quality=101)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"brightness": 9.0}, "brightness = 9.0: expected auto, or a number from -3 to 3"),
        ({"quality": 101}, "quality = 101: expected best, or a whole number from 1 to 100"),
        ({"strength": float("nan")}, "strength = nan: expected a number from 0 to 1"),
        ({"brightness": 1.0, "brightness_mean": 0.3}, "expected brightness or brightness_mean, not both"),
        ({"task": "auto", "steps": 2}, "task = auto stands alone, takes each model's own steps, and goes with return = image"),
    ],
)
def test_a_value_is_named_once_and_values_that_do_not_go_together_by_what_is_expected(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        parameters_of(RestoreParameters, **given)
    assert str(refused.value) == words
