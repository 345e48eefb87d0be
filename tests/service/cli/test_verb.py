"""Errors in words with an exit status; settings and parameters from what was typed."""

from pathlib import Path

import pytest

from service.cli.verb import Refused, local_settings, parameters_of, run_verb, settings_of
from service.errors import TooLarge
from service.restoration.parameters import RestoreParameters


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (Refused("change this"), 2, "rddm: change this\n"),
        (TooLarge("too large"), 1, "rddm: too large\n"),
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


def test_a_repository_is_a_folder_and_for_work_here(tmp_path: Path) -> None:
    assert local_settings(None, tmp_path)(threads=2).model_repository == tmp_path
    with pytest.raises(Refused, match="none is no folder of models"):
        local_settings(None, tmp_path / "none")
    with pytest.raises(Refused, match="--model-repository is for work here"):
        local_settings("http://gateway", tmp_path)


def test_parameters_that_are_refused_are_named_with_their_value() -> None:
    assert parameters_of(RestoreParameters, steps=3, task=None).steps == 3
    with pytest.raises(Refused, match="steps = 0: input should be greater than or equal to 1; quality = 101: "):
        parameters_of(RestoreParameters, steps=0, quality=101)
