"""Versions in a folder take traffic once their digest and golden answer are right."""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rddm.graph import X_T
from rddm.model import Golden, Model, golden_input, to_parameters
from service.engines import repository as repositories
from service.engines.contract import Ticket
from service.engines.repository import LocalRepository, ModelFile, describe, find_newest, names_in
from service.errors import EngineUnavailable, NotFound, UnknownModel
from tests.service.serving import RESTORER

GIVEN = golden_input(RESTORER)[X_T]


class Files(LocalRepository[float]):
    """A version is opened as the number in its file, and answers with x_t and that number more."""

    def open(self, file: ModelFile) -> float:
        return float(file.read())

    def engine_of(self, model: Model, handle: float) -> Any:
        repository = self

        class Engine:
            async def predict(self, x_t: Any, *_: Any) -> tuple[Any, ...]:
                return await repository.answer(x_t, handle)

        return Engine()

    async def answer(self, x_t: Any, handle: float) -> tuple[Any, ...]:
        return (x_t + np.float32(handle),)

    async def predict(self, x_t: Any, _condition: Any, _time: Any, ticket: Ticket) -> tuple[Any, ...]:
        return await self.answer(x_t, self._versions.find(ticket.weights)[1])


def put(folder: Path, name: str, *numbers: str, backend: str = "onnxruntime", more: float = 0.0) -> None:
    """Versions 1, 2, ... whose golden answer is that of their number, or `more` beside it."""
    parameters: dict[str, str] = {}
    for version, number in enumerate(numbers, start=1):
        place = folder / name / str(version)
        place.mkdir(parents=True)
        (place / "model.txt").write_text(number)
        golden = Golden(GIVEN + np.float32(float(number) + more), 1e-3)
        spec = RESTORER.model_copy(update={"name": name})
        parameters |= to_parameters(Model(spec, version, hashlib.sha256(number.encode()).hexdigest(), golden))
    entries = "".join(f'parameters {{ key: "{key}" value {{ string_value: {value!r} }} }}\n' for key, value in parameters.items())
    (folder / name / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "{backend}"\ndefault_model_filename: "model.txt"\n{entries}'
    )


async def test_the_newest_version_whose_file_is_there_serves(tmp_path: Path) -> None:
    put(tmp_path, "m", "0.25", "0.5", "0.75")
    (tmp_path / "m" / "3" / "model.txt").unlink()
    repository = Files(tmp_path)
    await repository.start()
    with repository.lease("m") as model:
        assert model.version == 2
    await repository.check("m")
    await repository.unload("m")
    with pytest.raises(UnknownModel):
        await repository.check("m")
    await repository.close()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"backend": "openvino"}, "is for the backend 'openvino'; this engine runs 'onnxruntime'"),
        ({"more": 0.5}, "away from its golden"),
    ],
)
async def test_a_version_that_cannot_be_trusted_is_broken_and_the_others_serve(
    tmp_path: Path, facts: dict[str, Any], words: str
) -> None:
    put(tmp_path, "good", "0.5")
    put(tmp_path, "bad", "0.5", **facts)
    repository = Files(tmp_path)
    await repository.start()
    assert list(repository.models()) == ["good"]
    assert words in repository.broken["bad"]
    with pytest.raises(EngineUnavailable):
        await repository.load("bad")


def test_only_the_models_that_are_named_are_described_where_all_of_them_are_there(tmp_path: Path) -> None:
    put(tmp_path, "a", "0.5")
    put(tmp_path, "b", "0.5")
    assert list(describe(tmp_path, only=["b"])[0]) == ["b"]
    assert list(describe(tmp_path, only=["b", "a task"])[0]) == ["a", "b"]
    assert list(describe(tmp_path, only=[])[0]) == ["a", "b"]


async def test_a_file_that_changed_is_corrupt(tmp_path: Path) -> None:
    put(tmp_path, "m", "0.5")
    (tmp_path / "m" / "1" / "model.txt").write_text("0.6")
    with pytest.raises(EngineUnavailable, match="version 1 of model 'm' is corrupt: its file has another digest"):
        await Files(tmp_path).load("m")
    with pytest.raises(EngineUnavailable, match="no model could be loaded from"):
        await Files(tmp_path).start()


async def test_a_golden_answer_by_which_a_model_was_loaded_is_noted_with_its_time(tmp_path: Path) -> None:
    put(tmp_path, "m", "0.5")
    repository, before = Files(tmp_path), time.monotonic()
    await repository.start()
    first = repository.loaded_at["m"]
    assert before <= first <= time.monotonic()
    (tmp_path / "m" / "1" / "model.txt").write_text("0.6")
    with pytest.raises(EngineUnavailable):
        await repository.load("m")
    assert repository.loaded_at == {"m": first}


async def test_the_old_version_serves_till_the_new_one_is_proven(tmp_path: Path) -> None:
    put(tmp_path, "m", "0.25", "0.5")
    moved = tmp_path / "m" / "2" / "away"
    (tmp_path / "m" / "2" / "model.txt").rename(moved)
    repository = Files(tmp_path)
    await repository.start()
    (tmp_path / "m" / "2" / "model.txt").write_text("broken")
    with pytest.raises(EngineUnavailable):
        await repository.load("m")
    assert repository.models()["m"].version == 1
    moved.rename(tmp_path / "m" / "2" / "model.txt")
    assert (await repository.load("m")).version == 2
    assert repository.broken == {}


@pytest.mark.parametrize(("cores", "together"), [(1, 1), (2, 1), (4, 2), (5, 2)])
async def test_models_are_opened_side_by_side_on_half_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, together: int
) -> None:
    monkeypatch.setattr(repositories, "usable_cores", lambda: cores)
    room, opened, most = threading.Barrier(together), 0, 0

    class Counted(Files):
        def open(self, file: ModelFile) -> float:
            nonlocal opened, most
            opened += 1
            most = max(most, opened)
            room.wait(10)  # fails where fewer are opened side by side
            opened -= 1
            return super().open(file)

    for name in ("a", "b", "c", "d"):
        put(tmp_path, name, "1")
    repository = Counted(tmp_path)
    await repository.start()
    assert (len(repository.models()), most) == (4, together)


async def test_only_the_model_that_is_needed_is_opened(tmp_path: Path) -> None:
    put(tmp_path, "a", "0.5")
    put(tmp_path, "b", "0.5")
    repository = Files(tmp_path)
    repository.restrict(lambda models: sorted(models)[1])
    await repository.start()
    assert list(repository.models()) == ["b"]


@pytest.mark.parametrize(("wanted", "described"), [("a", [["a"]]), ("b", [["a"], ["a", "b"]])])
async def test_named_models_are_described_alone_unless_another_one_is_needed(
    wanted: str, described: list[list[str]], tmp_path: Path
) -> None:
    put(tmp_path, "a", "0.5")
    put(tmp_path, "b", "0.5")
    asked: list[list[str]] = []

    def choose(models: Mapping[str, Model]) -> list[str]:
        asked.append(sorted(models))
        if wanted not in models:
            raise NotFound(wanted)
        return [wanted]

    repository = Files(tmp_path)
    repository.restrict(choose, named=["a"])
    await repository.start()
    assert (asked, list(repository.models())) == (described, [wanted])


def test_names_are_those_of_folders_with_a_configuration(tmp_path: Path) -> None:
    put(tmp_path, "m", "0.5")
    put(tmp_path, ".left", "0.5")
    (tmp_path / "empty").mkdir()
    assert names_in(tmp_path) == ["m"]
    with pytest.raises(UnknownModel, match=r"there is no model 'x' in the repository; expected one of \['m'\]"):
        find_newest(tmp_path, "x")
    file = find_newest(tmp_path, "m")
    with pytest.raises(EngineUnavailable, match="the file of model 'm' cannot be read: FileNotFoundError"):
        replace(file, path=tmp_path / "none").read()
