"""rddm completion: the script completes verbs, options and values in a real shell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rddm.__main__ import verbs
from service.cli.completion import completion, whole_parser

ASK = """
source {script}
COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
_shtab_rddm
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rddm re", "restore"),
        ("rddm restore --fo", "--format"),
        ("rddm restore --format we", "webp"),
        ("rddm serve --eng", "--engine"),
    ],
)
def test_bash_completes(words: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert completion(["bash"]) == 0
    script = tmp_path / "rddm.bash"
    script.write_text(capsys.readouterr().out)
    bash = shutil.which("bash")
    assert bash is not None
    asked = ASK.format(script=script, words=words, last=len(words.split()) - 1)
    done = subprocess.run([bash, "--norc", "-c", asked], capture_output=True, text=True, check=False)
    assert expected in done.stdout.split(), done.stdout + done.stderr


def test_every_verb_is_there_with_its_options() -> None:
    [places] = [action for action in whole_parser()._actions if action.choices]
    assert list(places.choices) == list(verbs())
    for name, parser in places.choices.items():
        assert parser._actions or name == "completion", name


def test_a_shell_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        completion(["fishy"])
    assert "fishy" in capsys.readouterr().err
