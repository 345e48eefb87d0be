"""Which model answers a request, and in how many steps."""

import logging
from pathlib import Path

import pytest

from service.errors import InvalidValue, NotFound
from service.restoration.models import ModelChoice, steps_of
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.settings import Settings
from tests.service.serving import RESTORER, FakeServingEngine, model


def choice(tmp_path: Path, engine: FakeServingEngine | None = None, **changes: object) -> ModelChoice:
    return ModelChoice(Settings(jobs_file=tmp_path / "jobs", **changes), engine or FakeServingEngine())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "name"), [("keeper", "keeper"), ("nothing", "keeper"), ("shadow", "unshadow"), (None, "lowlight")]
)
def test_a_model_is_found_by_its_name_its_task_or_as_the_default(tmp_path: Path, task: str | None, name: str) -> None:
    assert choice(tmp_path).names_for(RestoreParameters(task=task)) == (name,)


def test_clean_answers_to_denoise_and_dejpeg_too(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    engine.loaded["photo-cleaner"] = model(RESTORER.model_copy(update={"name": "photo-cleaner", "task": "clean"}))
    assert choice(tmp_path, engine).names_for(RestoreParameters(task="denoise,dejpeg")) == ("photo-cleaner", "photo-cleaner")
    engine.loaded["denoise"] = model(RESTORER.model_copy(update={"name": "denoise", "task": "grain"}))
    assert choice(tmp_path, engine).names_for(RestoreParameters(task="denoise,dejpeg")) == ("denoise", "photo-cleaner")
    with pytest.raises(NotFound, match="'clean', 'dejpeg', 'denoise', 'grain', 'keeper'"):
        choice(tmp_path, engine).names_for(RestoreParameters(task="none"))


def test_an_alias_of_a_task_that_no_model_has_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="unknown task 'denoise'"):
        choice(tmp_path).names_for(RestoreParameters(task="denoise"))


def test_the_name_of_a_generator_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"model emoji generates pictures and restores none; expected one of \['auto', 'keeper'"):
        choice(tmp_path).names_for(RestoreParameters(task="emoji"))


def test_only_a_model_that_generates_generates(tmp_path: Path) -> None:
    assert choice(tmp_path).names_for(GenerateParameters()) == ("emoji",)
    with pytest.raises(NotFound, match=r"model lowlight restores pictures and generates none; those that generate are \['emoji'\]"):
        choice(tmp_path).names_for(GenerateParameters(model="lowlight"))


def test_where_there_is_nothing_else_no_empty_list_is_offered(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    generators = {"emoji": engine.loaded.pop("emoji")}
    with pytest.raises(NotFound, match=r"unknown model 'nosuch'$"):
        choice(tmp_path, engine).names_for(GenerateParameters(model="nosuch"))
    engine.loaded = generators
    with pytest.raises(NotFound, match=r"model emoji generates pictures and restores none$"):
        choice(tmp_path, engine).names_for(RestoreParameters(task="emoji"))


def test_a_default_that_nobody_set_and_never_was_there_is_the_first_that_restores(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    del engine.loaded["lowlight"]
    assert choice(tmp_path, engine).default_model() == "keeper"


def test_a_default_that_was_there_is_missed(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    models = choice(tmp_path, engine)
    assert models.default_model() == "lowlight"
    del engine.loaded["lowlight"]
    with pytest.raises(NotFound, match="unknown task 'lowlight'"):
        models.resolve(RestoreParameters())


def test_a_default_that_was_set_and_is_not_there_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choice(tmp_path, default_model="gone").warn_of_default()
    assert "the default model 'gone' is not loaded" in caplog.text


def test_steps_are_the_models_own_unless_they_are_asked_for(tmp_path: Path) -> None:
    with choice(tmp_path).lease(RestoreParameters()) as (leased,):
        assert (leased.spec.name, steps_of(leased.spec, None)) == ("lowlight", 2)
    with pytest.raises(InvalidValue, match="steps = 11"), choice(tmp_path).lease(RestoreParameters(steps=11)):
        pass
    assert steps_of(RESTORER, 10) == 10
    with pytest.raises(InvalidValue, match=r"steps = 11; model lowlight takes 1..10"):
        steps_of(RESTORER, 11)


def test_auto_may_use_every_model_of_a_task_that_it_plans_in_the_order_of_repair(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    for task in ("derain", "clean"):
        engine.loaded[task] = model(RESTORER.model_copy(update={"name": task, "task": task}))
    assert choice(tmp_path, engine).names_for(RestoreParameters(task="auto")) == ("clean", "derain", "lowlight")
    for task in ("derain", "clean", "lowlight"):
        del engine.loaded[task]
    with pytest.raises(NotFound, match="no model for task auto; it plans with any of"):
        choice(tmp_path, engine).names_for(RestoreParameters(task="auto"))


def test_auto_is_no_single_task(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="expected one task here"):
        choice(tmp_path).check_single(RestoreParameters(task="auto"))
