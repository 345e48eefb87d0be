"""`rddm` finds its verbs, runs one, and says what to install."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rddm import __main__ as program
from rddm.__main__ import extras_of, main, missing_package, summary, usage, verbs

SERVE = EntryPoint("serve", "service.cli.serve:serve [cpu]", program.GROUP)


def test_every_verb_is_in_the_help_with_the_first_line_of_its_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    output = capsys.readouterr().out
    assert output == f"{usage()}\n" * 2
    assert {"serve", "restore", "train", "export"} <= verbs().keys()
    assert all(f"  {name:<10} {summary(entry)}\n" in usage() + "\n" for name, entry in verbs().items())
    assert all(summary(entry) for entry in verbs().values())


def test_an_unknown_verb_is_2_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resture"]) == 2
    assert capsys.readouterr().err.startswith("rddm: unknown verb 'resture'; expected one of ['batch', ")


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (
            ModuleNotFoundError("no", name="onnxruntime"),
            2,
            "rddm: `serve` needs the package 'onnxruntime': pip install 'rddm-serve[",
        ),
    ],
)
def test_what_ends_a_verb_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, status: int, words: str
) -> None:
    def verb(_: list[str]) -> int:
        raise raised

    monkeypatch.setattr(program, "load", lambda _: verb)
    assert main(["serve"]) == status
    assert capsys.readouterr().err.startswith(words)


def test_ctrl_c_while_verbs_are_looked_for_is_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "verbs", pressed)
    assert main(["serve"]) == main(["--help"]) == 130


def test_a_pipe_that_nobody_reads_ends_the_program_without_words() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([sys.executable, "-m", "rddm", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (141, b"")
    os.close(writing)


def test_a_verb_has_the_words_behind_it_and_its_status_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(program, "load", lambda _: lambda words: given.append(words) or 3)
    assert main(["serve", "--port", "0"]) == 3
    assert given == [["--port", "0"]]


def test_the_extra_that_brings_a_module_is_named() -> None:
    assert extras_of("av", SERVE) == ["cpu", "video"]
    assert extras_of("cv2", SERVE) == ["cpu", "video"]
    assert extras_of("onnxruntime", SERVE) == ["cpu"]


def test_a_module_of_the_projects_own_that_is_missing_is_a_fault() -> None:
    with pytest.raises(ModuleNotFoundError):
        missing_package(ModuleNotFoundError("no", name="service.nothing"), SERVE)
