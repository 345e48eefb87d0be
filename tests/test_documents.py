"""The documents: every option of a command that they show is one that the command takes."""

import re
from pathlib import Path

import pytest

from rddm.__main__ import main, verbs

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
COMMAND = re.compile(r"\brddm ([a-z]+)\b([^`#\n]*)")
OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")


def commands() -> dict[str, set[str]]:
    """Verb -> the options that any document shows with it."""
    shown: dict[str, set[str]] = {name: set() for name in verbs()}
    for document in DOCUMENTS:
        for name, rest in COMMAND.findall(document.read_text(encoding="utf-8")):
            if name in shown:
                shown[name] |= set(OPTION.findall(rest))
    return shown


@pytest.mark.parametrize("name", sorted(verbs()))
def test_shown_options_are_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    known = set(OPTION.findall(capsys.readouterr().out))
    assert commands()[name] <= known


def test_the_documents_show_options() -> None:
    assert "--data" in commands()["evaluate"]
    assert sum(map(len, commands().values())) > 15
