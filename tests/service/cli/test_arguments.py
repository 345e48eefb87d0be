"""Options that several verbs have."""

import argparse

import pytest

from service.cli.arguments import add_server, add_writing
from service.settings import KEY_VARIABLE


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_server(parser)
    add_writing(parser, "; CRF of clips")
    return parser.parse_args(words)


def test_nothing_is_set_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert vars(parsed()) == {"server": None, "model_repository": None, "key": None, "quality": None, "lossless": None}


def test_the_key_comes_from_the_environment_and_an_option_beats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "from-there")
    assert parsed().key == "from-there"
    assert parsed("--key", "mine").key == "mine"


@pytest.mark.parametrize(("word", "meant"), [("--lossless", True), ("--no-lossless", False)])
def test_without_loss_is_said_either_way(word: str, meant: bool) -> None:
    assert parsed(word, "--quality", "80").lossless is meant


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--server", "gateway:8000"), "'gateway:8000' is no address of a gateway; expected http://HOST:PORT"),
        (("--server", "ftp://gateway"), "'ftp://gateway' is no address of a gateway"),
        (("--key", "a\nb"), "a character that no header can carry"),
        (("--quality", "better"), "'better'; expected best, or a whole number"),
        (("--model-repository", ""), "'' is no path; expected the name of a file or folder"),
    ],
)
def test_what_cannot_be_is_refused_in_words(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(argparse.ArgumentError) as refused:
        parsed(*words)
    assert expected in str(refused.value)


def test_a_key_that_is_refused_is_not_printed() -> None:
    with pytest.raises(argparse.ArgumentError) as refused:
        parsed("--key", "secret\n")
    assert "secret" not in str(refused.value)
