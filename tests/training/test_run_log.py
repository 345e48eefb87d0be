"""What a run leaves in its folder as it goes."""

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from training import run_log
from training.run_log import RunLog, plot, progress_bar
from training.trainer import Budget


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunLog:
    """A run of nothing; its curve is only noted, as drawing takes a second."""
    monkeypatch.setattr(run_log, "plot", lambda log, picture, title: picture.write_text(title))
    saved: list[dict[str, Any]] = []
    recipe = SimpleNamespace(spec=SimpleNamespace(name="tiny"), validate_every=10, save_every=20)
    trainer: Any = SimpleNamespace(
        recipe=recipe,
        steps=0,
        seconds=90.0,
        saved=saved,
        ema=SimpleNamespace(average=None),
        save=lambda _, facts, __: saved.append(facts),
    )
    validation: Any = SimpleNamespace(measure=lambda _: {"psnr": 20.12345})
    bar = progress_bar(Console(file=StringIO()))
    return RunLog(trainer, tmp_path, None, validation, bar, Budget(100, None))  # type: ignore[arg-type]


def run(log: RunLog, steps: int) -> None:
    for _ in range(steps):
        log.trainer.steps += 1
        log.after_step(0.5)


def lines(log: RunLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (log.folder / "log.jsonl").read_text().splitlines()]


def test_it_validates_and_saves_when_due(log: RunLog) -> None:
    run(log, 25)
    assert [line["step"] for line in lines(log)] == [10, 20]
    assert lines(log)[0] == {"step": 10, "minutes": 1.5, "loss": 0.5, "psnr": 20.123}
    assert log.trainer.saved == [{"figures": {"psnr": 20.12345}}]  # type: ignore[attr-defined]
    assert (log.folder / "curve.png").read_text() == "tiny"


def test_the_end_covers_what_the_log_does_not_yet(log: RunLog) -> None:
    run(log, 13)
    log.facts = {"seed": 7}
    log.finish()
    assert [line["step"] for line in lines(log)] == [10, 13]
    log.finish()
    assert len(lines(log)) == 2
    assert log.trainer.saved[-1] == {"figures": {"psnr": 20.12345}, "seed": 7}  # type: ignore[attr-defined]


def test_the_bar_tells_the_share_of_the_budget(log: RunLog) -> None:
    run(log, 20)
    assert log.bar.tasks[0].completed == pytest.approx(0.2)
    assert log.bar.tasks[0].fields["psnr"] == "psnr 20.12"


def test_a_curve_is_drawn_of_any_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for text in (
        '{"step": 1, "minutes": 0.1, "loss": 0.0}',
        '{"step": 1, "minutes": 0.1, "loss": 1}\n{"step": 2, "minutes": 1, "loss": 2, "x": 3}',
    ):
        path.write_text(text)
        plot(path, tmp_path / "curve.png", "name")
        with Image.open(tmp_path / "curve.png") as file:
            assert file.size == (720, 288)
