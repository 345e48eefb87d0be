"""The round trips through every pair of formats: a thin sample of them, and that what is lost is seen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyvips")
pytest.importorskip("pillow_jxl")
pytest.importorskip("pi_heif")

from benchmarks import round_trips
from service.pictures.formats import FORMATS


def test_a_thin_sample_loses_nothing() -> None:
    report = round_trips.matrix(thin=61)
    assert report["failures"] == []
    assert report["combinations"] >= 40


def test_what_is_lost_is_seen() -> None:
    given = next(file for file in round_trips.given_files() if "16 bits" in file.facts and "P3 by ICC" in file.facts)
    assert round_trips.problems(given, FORMATS["png"]) == []
    assert "colours" in round_trips.problems(replace(given, shows=given.shows + 5), FORMATS["png"])[0]
    turned = replace(given, shows=given.shows[::-1])
    assert "colours" in round_trips.problems(turned, FORMATS["tiff"])[0]
    assert round_trips.problems(replace(given, clear=round_trips.CLEAR), FORMATS["png"]) == ["transparency is gone"]


def test_the_committed_report_is_whole_and_lost_nothing() -> None:
    report = json.loads(Path(round_trips.__file__).parent.joinpath("results", "round-trips.json").read_text("utf-8"))
    assert (report["failed"], report["failures"]) == (0, [])
    assert {name.split(" -> ")[1] for name in report["by_formats"]} == set(FORMATS)
    assert report["combinations"] == sum(report["by_formats"].values()) >= 2000
