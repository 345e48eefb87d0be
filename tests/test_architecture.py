"""The command line, the wheel, and what the README promises of the files."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from rddm.__main__ import main, verbs


def test_every_verb_has_a_summary_and_answers_help(capsys) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in verbs():
        line = next(line for line in shown.splitlines() if line.strip().startswith(name))
        assert "(not installed)" not in line
        assert len(line.split()) > 2, f"{name} has no summary"


def test_an_unknown_verb_is_refused_with_the_list(capsys) -> None:
    assert main(["restroe"]) == 2
    assert "'restroe'" in (error := capsys.readouterr().err)
    assert "restore" in error


def test_ctrl_c_while_a_verb_is_loaded_is_its_status(monkeypatch: Any) -> None:
    def interrupted(_: EntryPoint) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EntryPoint, "load", interrupted)
    assert main(["restore", "x.png"]) == 130


def test_the_method_and_the_service_import_without_torch() -> None:
    modules = "rddm.sampler, rddm.image, service.api.app, service.cli.serve, service.cli.restore"
    code = f"import sys; sys.modules['torch'] = None; import {modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_carries_models_and_page(root: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=root, check=True, capture_output=True
    )
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    shipped = [path.parent.name for path in (root / "model_repository").glob("*/config.pbtxt")]
    assert {"lowlight", "derain"} <= set(shipped)
    for name in shipped:
        assert f"service/model_repository/{name}/config.pbtxt" in names
        assert f"service/model_repository/{name}/1/model.onnx" in names
    assert "service/page/index.html" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"rddm", "service", "training", "export"}
    stray = [name for name in names if name.startswith("training/") and not name.endswith((".py", ".toml", ".md"))]
    assert not stray, "logs, curves and sheets of runs lie in docs/models, outside the wheel"


def test_the_methods_code_stays_small_enough_to_read(root: Path) -> None:
    """RDDM itself, its sixteen relatives as specs (a tenth of it), the graph and condition that all rooms share, and the exposure
    that a picture is given once; and what the classifier of faults is shown, which training and service share."""
    lines = sum(len(path.read_text().splitlines()) for path in (root / "rddm").rglob("*.py"))
    assert lines < 2520, lines


def test_the_table_of_rooms_names_what_is_there(root: Path) -> None:
    text = (root / "ARCHITECTURE.md").read_text("utf-8")
    table = text[text.index("## The rooms of the service") : text.index("## Contracts")]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w/]+)`", row.split("|")[1])}
    there = {
        path.stem
        for path in (root / "service").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path.is_dir() and path.name != "model_repository"))
    }
    assert named == there


def test_the_lists_of_folders_name_what_is_there(root: Path) -> None:
    """ARCHITECTURE's table of packages and the README's files."""
    text, readme = ((root / name).read_text("utf-8") for name in ("ARCHITECTURE.md", "README.md"))
    table = text[text.index("## The packages") : text.index("`make check` holds the arrows between")]
    files = readme[readme.index("## Files") : readme.index("## Licence")]
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    there = {path.partition("/")[0] for path in listed if "/" in path and not path.startswith(".")}
    assert set(re.findall(r"^\| `(\w+)/`", table, re.MULTILINE)) == there
    assert set(re.findall(r"^(\w+)/ ", files, re.MULTILINE)) == there
