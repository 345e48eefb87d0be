"""Recipes: all that come with the package are valid, and what is wrong in a file is named."""

from pathlib import Path

import pytest

from training.recipe import FolderData, built_in_recipes, load_recipe
from training.train import chosen_recipe, main


def test_every_built_in_recipe_is_valid() -> None:
    assert {"lowlight", "derain", "raindrop", "emoji"} <= set(built_in_recipes())
    for name, path in built_in_recipes().items():
        assert load_recipe(path).spec.name == name


@pytest.mark.parametrize("text", [b"steps = 6\nbatch = = 2\n", b"\xff\xfe"])
def test_a_recipe_that_is_no_toml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(text)
    assert main([str(tmp_path / "mine.toml"), "-o", str(tmp_path / "run")]) == 2
    assert f"rddm train: {tmp_path / 'mine.toml'} is no TOML: " in capsys.readouterr().out


def test_an_unknown_recipe_lists_the_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown recipe 'desnow'.*derain"):
        chosen_recipe("desnow")
    assert main(["desnow", "-o", str(tmp_path)]) == 2
    assert "unknown recipe" in capsys.readouterr().out


def test_a_recipe_that_does_not_fit_names_its_file_and_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path := tmp_path / "mine.toml").write_text('steps = "many"\n[spec]\nname = "mine"\n')
    assert main([str(path), "-o", str(tmp_path / "run")]) == 2
    output = capsys.readouterr().out
    for part in ("mine.toml is no recipe", "spec.task: Field required", "steps = 'many': Input should be a valid integer"):
        assert part in output
    assert not (tmp_path / "run").exists()


def test_files_replace_those_of_a_recipe_that_reads_any_and_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = chosen_recipe("flowers", {"target": "mine"}).data
    assert isinstance(data, FolderData)
    assert (data.target, data.side) == ("mine", 64)
    assert main(["derain", "-o", str(tmp_path / "run"), "--target", "mine"]) == 2
    assert "rddm train: --target mine: data of kind 'rain' is not read from files" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
