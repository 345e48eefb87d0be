"""The command line says what to install, whenever a package is missing, and keeps the faults of the project visible."""

import subprocess
import sys
from importlib.metadata import EntryPoint, requires
from pathlib import Path

import pytest

from rddm.__main__ import SUPPLIERS, extras_of, main, missing_package, verbs

WITHOUT = """
import sys
from rddm.__main__ import main
for name in {missing!r}:
    sys.modules[name] = None
sys.exit(main({argv!r}))
"""


@pytest.mark.parametrize(
    ("missing", "argv", "extras"),
    [
        ("onnxruntime", ["models"], "cpu"),
        ("onnxruntime", ["serve", "--port", "0"], "cpu"),
        ("onnxruntime", ["restore", "service/page/sample-lowlight.jpg", "-o", "{folder}/light.png"], "cpu"),
        ("tritonclient", ["serve", "--port", "0", "--engine", "triton"], "cpu,triton"),
        ("openvino", ["serve", "--port", "0", "--engine", "openvino"], "cpu,openvino"),
        ("onnx", ["export", "{folder}"], "cpu,train"),
        ("torch", ["train", "recipe.toml"], "cpu,train"),
        ("torch", ["evaluate", "--help"], "cpu,train"),
    ],
)
def test_a_missing_package_is_one_line_and_status_2(missing: str, argv: list[str], extras: str, root: Path, tmp_path: Path) -> None:
    code = WITHOUT.format(missing=[missing], argv=[word.format(folder=tmp_path) for word in argv])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"rddm: `{argv[0]}` needs the package {missing!r}: pip install 'rddm-serve[{extras}]'\n"


def test_a_missing_database_driver_is_named_before_the_gateway_starts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDDM_DATABASE_URL", "postgresql://nowhere")
    code = WITHOUT.format(missing=["psycopg"], argv=["serve", "--port", "0"])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "'rddm-serve[cpu,postgres]'" in done.stderr


def test_a_missing_module_of_the_project_itself_is_a_fault_and_raised() -> None:
    entry = verbs()["serve"]
    for name in ("service.gone", "rddm.gone", "training.gone", None):
        with pytest.raises(ModuleNotFoundError):
            missing_package(ModuleNotFoundError("gone", name=name), entry)


def test_every_package_that_is_named_otherwise_is_an_extras() -> None:
    extras = " ".join(requirement for requirement in requires("rddm-serve") or () if "extra ==" in requirement)
    assert all(package in extras for package in SUPPLIERS.values())
    assert extras_of("cv2", verbs()["serve"]) == ["cpu", "video"]
    assert extras_of("nowhere.at.all", verbs()["serve"]) == ["cpu"]


def test_a_verb_whose_package_is_not_there_is_no_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    absent = EntryPoint("ghost", "a_package_that_is_not_there.command:main", "rddm.verbs")
    monkeypatch.setattr("rddm.__main__.entry_points", lambda group: [absent])
    assert main(["--help"]) == 0
    assert "ghost" not in capsys.readouterr().out
    assert main(["ghost"]) == 2
