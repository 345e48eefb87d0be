"""A model as callers read it."""

from pathlib import Path

import pytest

from rddm.spec import ModelSpec
from service.restoration.catalogue import facts_of
from service.settings import Settings
from tests.service.serving import GENERATOR, MASKED, RESTORER, model


@pytest.mark.parametrize(
    ("spec", "kind", "mask"), [(RESTORER, "restore", False), (MASKED, "restore", True), (GENERATOR, "generate", False)]
)
def test_a_models_kind_and_mask_are_listed(tmp_path: Path, spec: ModelSpec, kind: str, mask: bool) -> None:
    facts = facts_of(Settings(jobs_file=tmp_path / "jobs"), model(spec))
    assert (facts["name"], facts["kind"], facts["takes_mask"]) == (spec.name, kind, mask)


def test_limits_are_those_of_the_service_and_the_model(tmp_path: Path) -> None:
    facts = facts_of(Settings(jobs_file=tmp_path / "jobs", max_pixels=1000, max_side=99), model(GENERATOR))
    assert facts["size"] == {"max_pixels": 1000, "max_side": 99, "multiple": 8, "image_size": (32, 32)}
    assert facts["steps"] == {"default": 3, "min": 1, "max": 10}
    assert facts["digest"] == model(GENERATOR).digest
