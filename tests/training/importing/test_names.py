"""A model's name comes from where its file lies, and is always one that a spec takes."""

from pathlib import Path

import pytest

from rddm.spec import ModelSpec
from training.importing.names import to_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/rain/results/sample/model-80.pt", "rain-model-80"),
        ("/data/Rain 100H/checkpoints/best.PTH", "rain-100h-best"),
        ("/weights/ddim", "ddim"),
        ("/a/modèle 2.onnx", "a-mod-le-2"),
        ("/tmp/results/___.pt", "imported"),
        (f"/x/{'long' * 30}.pt", ("x-" + "long" * 30)[:64]),
    ],
)
def test_a_name_is_the_files_and_that_of_the_first_folder_that_tells(path: str, name: str) -> None:
    assert to_name(Path(path)) == name
    assert ModelSpec(name=to_name(Path(path)), task="t", licence="L").name == name


def test_a_name_does_not_depend_on_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shadow"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert to_name(Path("model.pt")) == to_name(folder / "model.pt") == "shadow-model"
