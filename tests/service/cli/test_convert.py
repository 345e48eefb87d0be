"""`rddm convert`: files in, files out, and refusals in words."""

import json
from pathlib import Path
from typing import Any

import pytest

from rddm.relatives import relative_spec
from rddm.spec import ModelSpec
from service.cli.convert import convert_spec

FACTS = {"name": "mine", "task": "b", "licence": "test", "image_clip": None}


def test_a_spec_is_written_in_the_other_form(tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "spec.json", tmp_path / "out.json"
    source.write_text(relative_spec("indi", **FACTS).model_dump_json())
    assert convert_spec([str(source), "--to", "rddm", "-o", str(target)]) == 0
    assert ModelSpec.model_validate_json(target.read_text()).update == "noise"
    assert "mine as rddm: largest difference over 100 random networks" in capsys.readouterr().err


def test_a_method_can_be_named_and_the_answer_goes_to_standard_output(capsys: Any) -> None:
    assert convert_spec(["resshift", "--to", "rddm"]) == 0
    assert json.loads(capsys.readouterr().out)["update"] == "ancestral"


def test_a_model_that_ships_is_read_from_its_folder(root: Path, capsys: Any) -> None:
    assert convert_spec([str(root / "model_repository" / "lowlight"), "--to", "indi"]) == 2
    assert "lowlight is no 'indi': its schedule is not one of those with beta_bar proportional" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"name": "a"}', "holds no spec: task: field required"),
        ("none", "holds no spec: it: invalid json"),
        (None, "cannot be read as a spec; expected JSON, a model's folder, or one of ['cold'"),
    ],
)
def test_what_is_no_spec_is_refused(content: str | None, message: str, tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "spec.json"
    if content is not None:
        source.write_text(content)
    assert convert_spec([str(source), "--to", "rddm"]) == 2
    assert message in capsys.readouterr().err
