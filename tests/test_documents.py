"""The documents: every option of a command or module that they show is one that it takes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rddm.__main__ import main, verbs

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
COMMAND = re.compile(r"\brddm ([a-z]+)\b([^`#\n]*)")
MODULE = re.compile(r"\bpython -m ((?:benchmarks|docs|export|service|training)[.\w]*)([^`#\n]*)")
OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")


def commands() -> dict[str, set[str]]:
    """Verb -> the options that any document shows with it."""
    shown: dict[str, set[str]] = {name: set() for name in verbs()}
    for document in DOCUMENTS:
        for name, rest in COMMAND.findall(document.read_text(encoding="utf-8")):
            if name in shown:
                shown[name] |= set(OPTION.findall(rest))
    return shown


def modules() -> dict[str, set[str]]:
    """Module -> the options that any document shows with it."""
    shown: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for name, rest in MODULE.findall(document.read_text(encoding="utf-8")):
            shown.setdefault(name.rstrip("."), set()).update(OPTION.findall(rest))
    return shown


@pytest.mark.parametrize("name", sorted(verbs()))
def test_shown_options_are_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    known = set(OPTION.findall(capsys.readouterr().out))
    assert commands()[name] <= known


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[int, str, str]]:
    """What each module says to `--help`: see tests.helps."""
    command = [sys.executable, "-m", "tests.helps", *modules()]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("name", sorted(modules()))
def test_shown_options_of_modules_are_options(name: str, helps: dict[str, tuple[int, str, str]]) -> None:
    status, shown, errors = helps[name]
    assert status == 0, errors
    assert modules()[name] <= set(OPTION.findall(shown))


def test_the_answer_that_the_readme_shows_is_of_the_model_that_ships() -> None:
    [shown] = re.findall(r"^x-model-digest: (\w+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown in (ROOT / "model_repository" / "lowlight" / "config.pbtxt").read_text(encoding="utf-8")


def test_the_documents_show_options() -> None:
    assert "--data" in commands()["evaluate"]
    assert sum(map(len, commands().values())) > 15
    assert "--kill-every" in modules()["benchmarks.endurance"]
