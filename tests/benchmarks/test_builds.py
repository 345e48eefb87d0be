"""Another checkout is measured beside this one, in turns; a tiny one stands for it here, with an environment of its own."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from benchmarks.bench import arguments, builds_of, main
from benchmarks.builds import Build, build_at, restricted, shared_models, this_build
from benchmarks.cold import Cost, cold_command, cold_start, in_turn, summary
from benchmarks.contenders import gateway
from tests.models import release_tiny

FAKE = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked > 2 else 503)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

end = time.process_time() + {busy}
while time.process_time() < end:
    pass
if sys.argv[1] == "serve":
    assert sys.argv[2:4] == ["--port", "0"], sys.argv
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(f"RDDM Serve answers at http://127.0.0.1:{{server.server_port}}/  models: none yet", flush=True)
    server.serve_forever()
Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(Path(sys.argv[2]).read_bytes())
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, float], Build]:
    """Makes a checkout whose every verb is busy for so many CPU seconds first."""

    def make(name: str, busy: float) -> Build:
        folder = tmp_path / name
        for place in ("rddm", ".venv/bin", "model_repository"):
            folder.joinpath(place).mkdir(parents=True)
        folder.joinpath("rddm/__init__.py").touch()
        folder.joinpath("rddm/__main__.py").write_text(FAKE.format(busy=busy))
        interpreter = folder / ".venv/bin/python"
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        interpreter.chmod(0o755)
        return build_at(folder)

    return make


def test_a_checkout_is_run_by_the_interpreter_of_its_own_environment(fake: Callable[..., Build], tmp_path: Path) -> None:
    build = fake("older", 0)
    assert build == Build("gateway at older", tmp_path / "older", tmp_path / "older/.venv/bin/python")
    assert build.models(None) == tmp_path / "older/model_repository"
    assert build.models(tmp_path) == tmp_path
    assert build_at(tmp_path / "older", Path(sys.executable)).python == Path(sys.executable)


def test_builds_are_compared_with_the_models_that_both_have(fake: Callable[..., Build], tmp_path: Path) -> None:
    builds = [fake(name, 0) for name in ("older", "newer")]
    for build, names in zip(builds, ("ab", "abc"), strict=True):
        for name in names:
            (build.models(None) / name).mkdir()
            (build.models(None) / name / "config.pbtxt").write_text(build.name)
    assert shared_models(builds) == ["a", "b"]
    (tmp_path / "scratch").mkdir()
    for build in restricted(builds, ["b"], tmp_path / "scratch"):
        assert [path.name for path in build.models(None).iterdir()] == ["b"]
        assert (build.models(None) / "b/config.pbtxt").read_text() == build.name
        assert build.models(tmp_path) == tmp_path


def test_what_is_no_checkout_or_has_no_environment_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(ValueError, match="is no checkout of this project"):
        build_at(tmp_path)
    (tmp_path / "rddm").mkdir()
    (tmp_path / "rddm/__main__.py").touch()
    with pytest.raises(ValueError, match=r"has no environment; expected one of .*\.venv/bin/python"):
        build_at(tmp_path)
    with pytest.raises(SystemExit, match=r"--against: .* has no environment"):
        main(["cold-command", "--against", str(tmp_path)])
    with pytest.raises(ValueError, match="which is not given"):
        builds_of(arguments().parse_args(["--against-python", sys.executable]))
    assert builds_of(arguments().parse_args([])) == [this_build()]


def test_a_start_counts_until_it_is_ready_and_ratios_are_of_one_round(fake: Callable[..., Build]) -> None:
    quick, slow = fake("quick", 0), fake("slow", 0.3)
    release_tiny(quick.models(None))
    said: list[str] = []
    reports = cold_start([quick, slow], None, 2, said.append)
    assert set(reports) == {"cache present", "cache absent"}
    for report in reports.values():
        assert list(report) == [quick.name, slow.name, "bare"]
        assert report[slow.name]["cpu_seconds"] - report[quick.name]["cpu_seconds"] > 0.15
        assert len(report[slow.name]["rounds"]) == 2
        assert report[quick.name]["cpu_over_first"] == 1
    assert sum("cache absent" in words for words in said) == 4


def test_a_command_counts_with_the_picture_that_it_leaves(fake: Callable[..., Build]) -> None:
    quick, slow = fake("quick", 0), fake("slow", 0.5)
    report = cold_command([quick, slow], None, 1, lambda _: None)
    assert report[slow.name]["cpu_over_first"] > 1.5


def test_each_build_begins_in_its_turn(fake: Callable[..., Build]) -> None:
    builds = [fake(name, 0) for name in "abc"]
    assert ["".join(build.folder.name for build in in_turn(builds, turn)) for turn in range(3)] == ["abc", "bca", "cab"]


def test_a_ratio_is_of_one_round() -> None:
    costs = {"a": [Cost(1, 1), Cost(4, 4), Cost(2, 2)], "b": [Cost(2, 1), Cost(4, 4), Cost(3, 3)]}
    assert summary(costs)["b"] == {
        "cpu_seconds": 3,
        "wall_seconds": 3,
        "cpu_over_first": 1.5,
        "rounds": [{"cpu": 2, "wall": 1}, {"cpu": 4, "wall": 4}, {"cpu": 3, "wall": 3}],
    }


def test_another_builds_gateway_is_a_contender_until_the_block_ends(fake: Callable[..., Build]) -> None:
    with gateway(fake("older", 0), None, "lowlight") as (process, url):
        assert httpx2.get(f"{url}/readyz").status_code == 200
    assert not process.is_running()


def test_a_report_is_written(fake: Callable[..., Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = fake("older", 0)
    monkeypatch.setattr("benchmarks.bench.this_build", lambda: fake("now", 0))
    assert (
        main(["cold-command", "--against", str(older.folder), "--starts", "1", "--rounds", "1", "-o", str(tmp_path / "out")]) == 0
    )
    report = json.loads((tmp_path / "out" / "cold-command.json").read_text())
    assert {"gateway at now", "gateway at older", "machine"} <= set(report)
