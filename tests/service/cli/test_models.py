"""`rddm models` shows a line a model, and refuses what cannot be done."""

from typing import Any

import pytest

from service.cli import models as verb
from service.cli.models import models

FACTS = {
    "name": "lowlight",
    "task": "lowlight",
    "aliases": ["dark"],
    "kind": "restore",
    "version": 3,
    "steps": {"default": 2, "min": 1, "max": 10},
    "size": {"image_size": None},
    "licence": "Apache-2.0",
    "digest": "0123456789abcdef",
}


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(*_: Any) -> list[dict[str, Any]]:
        return [FACTS, {**FACTS, "name": "emoji", "kind": "generate", "size": {"image_size": [32, 64]}}]

    monkeypatch.setattr(verb, "_list_models", listed)


def test_a_line_tells_task_steps_size_licence_and_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert models([]) == 0
    head, first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["name", "task", "aliases", "kind", "version", "steps", "size", "licence", "digest"]
    assert first == ["lowlight", "lowlight", "dark", "restore", "3", "2", "(1..10)", "any", "Apache-2.0", "01234567"]
    assert second[7] == "64x32"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["load"], "rddm: load what? Expected rddm models load NAME"),
        (["--model-repository", "/none"], "rddm: /none is no folder of models"),
        (["--server", "http://a", "--model-repository", "/none"], "rddm: --model-repository is for work here"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    assert models(words) == 2
    assert capsys.readouterr().err.startswith(expected)
