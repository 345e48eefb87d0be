"""The verbs, with a fake engine in this process and against a gateway."""

import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.api.server import bind
from service.cli import restore as restoring
from service.cli import serve as serving
from service.cli.generate import generate
from service.cli.models import models
from service.cli.restore import restore
from service.cli.serve import serve
from service.cli.work import backends
from service.restoration.opening import open_service
from service.settings import Settings, unknown_variables
from service.telemetry import logs
from tests.models import release_tiny, tiny_spec
from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.live import Live, live
from tests.service.serving import FakeServingEngine
from tests.service.test_pictures import opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tmp_path_factory.mktemp("jobs"), port=0)) as server:
        yield server


@pytest.fixture(autouse=True)
def _by_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures here are random: what auto would do with them is no matter."""
    monkeypatch.setattr(restoring, "usual_task", lambda _: None)


@pytest.fixture(params=["here", "there"])
def where(request: pytest.FixtureRequest, server: Live, monkeypatch: Any) -> list[str]:
    """The verb's own process, or a gateway: the answers are the same."""
    if request.param == "there":
        return ["--server", f"http://127.0.0.1:{server.port}"]
    monkeypatch.setattr(backends, "open_service", lambda settings, **given: open_service(settings, FakeServingEngine(), **given))
    return []


def test_a_file_is_restored_beside_itself(where: list[str], tmp_path: Path) -> None:
    source = tmp_path / "dark.jpg"
    source.write_bytes(file_of(pixels_of(24, 40), "JPEG"))
    assert restore([str(source), *where]) == 0
    restored = opened((tmp_path / "dark-restored.jpg").read_bytes())
    assert (restored.format, restored.size) == ("JPEG", (40, 24))
    assert np.asarray(restored).mean() > np.asarray(opened(source.read_bytes())).mean() + 40


def test_the_output_names_the_format_and_options_go_through(where: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "dark.png", tmp_path / "deep" / "light.webp"
    source.write_bytes(file_of(pixels_of(24, 40)))
    options = ["--task", "nothing", "--steps", "4", "--seed", "9", "--return", "steps", "--metadata", "none"]
    assert restore([str(source), "-o", str(target), *options, *where]) == 0
    strip = opened(target.read_bytes())
    assert (strip.format, strip.size) == ("WEBP", (5 * 40, 24))


def test_a_folder_keeps_its_tree_and_tells_which_files_failed(where: list[str], tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "album"
    for name in ("a.png", "trip/b.PNG", "trip/c.png"):
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(file_of(pixels_of(8, 8)))
    folder.joinpath("words.png").write_text("no picture")
    folder.joinpath("notes.txt").write_text("left alone")
    assert restore([str(folder), *where]) == 1
    restored = tmp_path / "album-restored"
    assert sorted(str(path.relative_to(restored)) for path in restored.rglob("*.*")) == ["a.png", "trip/b.PNG", "trip/c.png"]
    assert "words.png" in capsys.readouterr().err


def test_an_output_that_is_a_folder_gets_the_file(where: list[str], tmp_path: Path) -> None:
    (tmp_path / "dark.jpg").write_bytes(file_of(pixels_of(8, 8), "JPEG"))
    (tmp_path / "there").mkdir()
    for folder in (str(tmp_path / "there"), f"{tmp_path}/new/"):
        assert restore([str(tmp_path / "dark.jpg"), "-o", folder, "--format", "webp", *where]) == 0
        assert opened(Path(folder, "dark.webp").read_bytes()).format == "WEBP"
    assert generate(["-o", str(tmp_path / "there"), *where]) == 0
    assert (tmp_path / "there" / "generated.png").is_file()


def test_the_folder_one_is_in_is_restored_beside_itself(where: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    for folder in ("album", "album/trip"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    monkeypatch.chdir(tmp_path / "album" / "trip")
    assert restore([".", *where]) == 0
    assert (tmp_path / "album" / "trip-restored" / "a.png").is_file()
    assert restore(["..", *where]) == 0
    assert (tmp_path / "album-restored" / "trip" / "a.png").is_file()


def test_results_within_the_folder_are_not_restored_again(where: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    for _ in range(2):
        assert restore([str(tmp_path), "-o", str(tmp_path / "out"), *where]) == 0
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a.png"]


def test_a_name_is_printed_as_it_is(where: list[str], tmp_path: Path, capsys: Any) -> None:
    name = f"{'long ' * 30}[edited] :smile: [/b].png"
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(file_of(pixels_of(8, 8)))
    assert restore([str(tmp_path), "-o", str(tmp_path / "[out]"), *where]) == 0
    assert str(tmp_path / "[out]" / name) in capsys.readouterr().err
    assert generate(["-o", str(tmp_path / "[out]" / name), *where]) == 0
    assert str(tmp_path / "[out]" / name) in capsys.readouterr().err


def test_a_result_that_cannot_be_written_whole_leaves_the_old_one(where: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    (tmp_path / "out.png").write_bytes(b"of yesterday")
    write = Path.write_bytes

    def half(path: Path, body: bytes) -> int:
        write(path, body[: len(body) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    assert restore([str(tmp_path / "a.png"), "-o", str(tmp_path / "out.png"), *where]) == 1
    assert (tmp_path / "out.png").read_bytes() == b"of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["album", "-o", "out", "--format", "png"], "album/a.jpg and album/a.png would both become out/a.png"),
        (["album", "-o", "album"], "is a picture to restore, and the result of album/a.jpg would replace it"),
        (["album/a.png", "-o", "album/a.png"], "album/a.png is a picture to restore"),
        (["album/a.png", "-o", "album"], "album/a.png is a picture to restore"),
        (["album/a.png", "-o", "out.gif"], "out.gif ends in '.gif'; expected .png"),
    ],
)
def test_no_picture_is_lost_or_misnamed(tmp_path: Path, monkeypatch: Any, capsys: Any, options: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("album").mkdir()
    for name in ("album/a.png", "album/a.jpg"):
        Path(name).write_bytes(file_of(pixels_of(8, 8)))
    before = {path: path.read_bytes() for path in Path("album").iterdir()}
    assert restore(options) == 2
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("album").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["album"]


def test_generate_refuses_a_name_for_another_format(tmp_path: Path, capsys: Any) -> None:
    assert generate(["-o", str(tmp_path / "face.gif")]) == 2
    assert "face.gif ends in '.gif'" in capsys.readouterr().err


def test_generate_writes_n_numbered_files_and_tells_the_seed(where: list[str], tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "emoji.png"
    assert generate(["-o", str(target), "-n", "2", "--seed", "5", *where]) == 0
    assert "seed 6" in capsys.readouterr().err
    first, second = (tmp_path / f"emoji-{k}.png" for k in (0, 1))
    assert generate(["-o", str(target), "--seed", "6", *where]) == 0
    assert target.read_bytes() == second.read_bytes() != first.read_bytes()


def test_models_are_listed(where: list[str], capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert models(where) == 0
    shown = capsys.readouterr().out
    assert "lowlight" in shown
    assert "32x32" in shown
    assert len(shown.splitlines()) == 5
    assert "\u2026" not in shown


def test_a_running_gateway_loads_and_unloads_models(server: Live, capsys: Any) -> None:
    address = ["--server", f"http://127.0.0.1:{server.port}"]
    for action, said in (("reload", "loaded"), ("unload", "unloaded"), ("load", "loaded")):
        assert models([action, "keeper", *address]) == 0
        shown = capsys.readouterr().out.split()
        assert (shown[0], shown[-1]) == ("keeper", said)
        assert ("keeper" in server.engine.models()) is (said == "loaded")
    assert models(["load", "nothing-like-it", *address]) == 2
    assert "nothing-like-it" in capsys.readouterr().err
    assert models(["load", *address]) == 2
    assert "NAME" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[""], ["x.png", "-o", ""], ["x.png", "--mask", ""]])
def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: Any, capsys: Any, argv: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.png").write_bytes(file_of(pixels_of(8, 8)))
    with pytest.raises(SystemExit) as end:
        restore(argv)
    assert end.value.code == 2
    assert "'' is no path; expected the name of a file or folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere.png"], "neither a file nor a folder"),
        (["{}"], "no picture"),
        (["{}/x.png", "--seed", "-1"], "seed = -1"),
        (["{}/x.png", "--steps", "0"], "steps = 0"),
        (["{}/x.png", "--task", ""], "task = ''"),
        (["{}/x.png", "--task", "auto", "--steps", "2"], "task = auto stands alone"),
        (["{}/x.png", "--mask", "{}/none.png"], "none.png cannot be read: no such file"),
        (["{}/x.png", "-o", "{}/x.png/deep/y.png"], "y.png cannot be written: one of its folders is a file"),
        (["{}", "-o", "{}/x.png/deep"], "x.png cannot be written: one of its folders is a file"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_2(tmp_path: Path, capsys: Any, argv: list[str], words: str) -> None:
    argv = [word.format(tmp_path) for word in argv]
    if len(argv) > 1:
        (tmp_path / "x.png").write_bytes(file_of(pixels_of(8, 8)))
    assert restore(argv) == 2
    assert words in capsys.readouterr().err


def test_a_server_that_is_not_there_is_said_with_status_1(capsys: Any) -> None:
    assert models(["--server", "http://127.0.0.1:9"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [restore, generate, models])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--server", "localhost:8000"], "'localhost:8000' is no address of a gateway; expected http://HOST:PORT"),
        (["--server", "http://[::1"], "'http://[::1' is no address"),
        (["--server", "http://"], "'http://' is no address"),
        (["--server", "http://127.0.0.1:9", "--key", "schlüssel"], "expected printable ASCII"),
        (["--server", "http://127.0.0.1:9", "--key", "two\nlines"], "expected printable ASCII"),
    ],
)
def test_an_address_or_key_that_cannot_be_one_is_status_2(verb: Any, options: list[str], words: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        verb(["x.png", *options] if verb is restore else options)
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert "schlüssel" not in errors
    assert "two" not in errors


def test_the_key_comes_from_the_environment_and_the_command_line_beats_it(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    with live(settings_for(tmp_path, port=0, keys=f"anna {sha256(b'correct-horse').hexdigest()}\n")) as locked:
        address = ["--server", f"http://127.0.0.1:{locked.port}"]
        assert models(address) == 1
        monkeypatch.setenv("RDDM_API_KEY", "correct-horse")
        assert models(address) == 0
        assert models([*address, "--key", "wrong"]) == 1
    assert "RDDM_API_KEY" not in unknown_variables()
    with pytest.raises(SystemExit):
        models(["--help"])
    assert "correct-horse" not in capsys.readouterr().out


@pytest.mark.parametrize("verb", [serve, restore, generate, models])
def test_help_reads_well(verb: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        verb(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: rddm {verb.__name__}")


def test_settings_come_from_the_environment_and_the_command_line_beats_it(monkeypatch: Any) -> None:
    monkeypatch.setenv("RDDM_PORT", "9000")
    monkeypatch.setenv("RDDM_TRITON_URLS", "a:1, b:2")
    assert Settings().port == 9000
    assert Settings().triton_urls == ("a:1", "b:2")
    assert Settings(port=1).port == 1


@pytest.mark.parametrize(("name", "value"), [("RDDM_PORT", "many"), ("RDDM_ENGINE", "magic"), ("RDDM_MAX_PIXELS", "0")])
def test_a_wrong_setting_is_named(monkeypatch: Any, capsys: Any, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert serve([]) == 2
    errors = capsys.readouterr().err
    assert name.removeprefix("RDDM_").lower() in errors
    assert repr(value) in errors


def test_a_variable_that_is_no_setting_is_named_by_a_verb_that_works_here(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("RDDM_MAX_PIXEL", "100")
    monkeypatch.setenv("RDDM_MAX_PIXELS", "0")
    (tmp_path / "a.png").write_bytes(file_of(pixels_of(8, 8)))
    assert restore([str(tmp_path / "a.png")]) == 2
    assert "the environment variable RDDM_MAX_PIXEL is no setting\n" in capsys.readouterr().err


def test_a_gateway_that_cannot_start_says_why_once(tmp_path: Path, capsys: Any, caplog: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setenv("RDDM_JOBS_FILE", str(tmp_path / "jobs.sqlite"))
    assert serve(["--model-repository", str(tmp_path), "--port", "0"]) == 1
    assert f"no model could be loaded from {tmp_path}; expected a folder each" in capsys.readouterr().err
    monkeypatch.setenv("RDDM_JOBS_FILE", str(tmp_path / "none" / "x" / "jobs.sqlite"))
    (tmp_path / "none").touch()
    assert serve(["--port", "0"]) == 1
    assert f"the jobs file {tmp_path / 'none'}" in capsys.readouterr().err
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", ["nosuch", "auto"])
def test_a_default_model_that_lies_nowhere_is_refused_at_once(name: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(serving, "bind", lambda *_: pytest.fail("an address was bound"))
    release_tiny(tmp_path, tiny_spec(name="tiny", task="denoise"))
    folder = ["--model-repository", str(tmp_path)]
    assert serve([*folder, "--default-model", name]) == 2
    assert capsys.readouterr().err == f"rddm: default_model = {name!r}; expected one of ['denoise', 'tiny']\n"
    monkeypatch.setenv("RDDM_DEFAULT_MODEL", name)
    assert serve(folder) == 2


@pytest.mark.parametrize("name", ["tiny", "tiny-task", "broken"])
def test_a_default_model_that_may_be_loaded_is_taken(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    class Bound(Exception):
        """The start has come that far."""

    def bind_nothing(*_: object) -> None:
        raise Bound

    monkeypatch.setattr(serving, "bind", bind_nothing)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    release_tiny(tmp_path, tiny_spec(name="tiny", task="tiny-task"))
    if name == "broken":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text("none", "utf-8")
    with pytest.raises(Bound):
        serve(["--model-repository", str(tmp_path), "--default-model", name])


def test_a_file_of_keys_that_is_not_there_is_named(tmp_path: Path, capsys: Any) -> None:
    assert serve(["--keys-file", str(tmp_path / "keys")]) == 2
    assert capsys.readouterr().err == f"rddm: keys: {tmp_path / 'keys'} cannot be read: no such file or directory\n"


def test_a_file_of_keys_that_is_no_text_is_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "keys").write_bytes(file_of(pixels_of(8, 8)))
    assert serve(["--keys-file", str(tmp_path / "keys")]) == 2
    assert f"keys: {tmp_path / 'keys'} is no text; expected lines of a name" in capsys.readouterr().err


def test_an_address_that_is_taken_is_reported_before_anything_is_opened(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setattr(serving, "Front", lambda *_: pytest.fail("the application was made"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert serve(["--port", str(port)]) == 1
    assert f"rddm: 127.0.0.1:{port} cannot be listened on: Address already in use" in capsys.readouterr().err


def test_all_addresses_of_a_name_get_the_one_port_that_the_system_chose() -> None:
    sockets = bind("localhost", 0)
    ports = {one.getsockname()[1] for one in sockets}
    for one in sockets:
        one.close()
    assert len(ports) == 1
    assert ports != {0}


def test_a_verb_opens_the_model_that_it_needs_and_no_other(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "x.png").write_bytes(file_of(pixels_of(24, 40)))
    for name in ("tiny", "other"):
        release_tiny(tmp_path / "models", tiny_spec(name=name, task=f"{name}-task"))
    (tmp_path / "models" / "other" / "1" / "model.onnx").write_bytes(b"none")
    command = [str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png"), "--model-repository", str(tmp_path / "models"), "--timings"]
    assert restore([*command, "--task", "tiny-task"]) == 0
    table = capsys.readouterr().err
    assert "tiny: session" in table
    assert "x.png: restored" in table
    assert "other" not in table
    assert restore([*command, "--task", "other"]) == 1
    assert "other" in capsys.readouterr().err
    assert restore([*command, "--task", "dehaze"]) == 2
    assert "unknown task 'dehaze'; expected one of ['other', 'other-task', 'tiny', 'tiny-task']" in capsys.readouterr().err


def test_a_picture_through_the_command_is_the_gateways(server: Live, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(file_of(pixels_of(24, 40)))
    assert restore([str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png"), "--server", f"http://127.0.0.1:{server.port}"]) == 0
    answer = server.client.post("/restore", content=(tmp_path / "x.png").read_bytes())
    assert (tmp_path / "y.png").read_bytes() == answer.content
