"""The Python client: against a gateway on a real port, and against answers that a real one gives only on bad days."""

import ast
import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx2
import numpy as np
import pytest
from PIL import Image

import service.client
from service.client import AsyncClient, Client, Locked, Overloaded, Problem, Refused, Restored, Step, Unexpected, Unreachable
from service.client.drivers import BlockingDriver
from service.client.errors import retry_after
from service.client.models import GenerateOptions, RestoreOptions
from service.client.operations import Sleep
from service.pictures.formats import FORMATS
from service.restoration.parameters import GenerateParameters, RestoreParameters
from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.on_port import Live, live

HEADS = {
    "content-type": "image/png",
    "x-model": "lowlight",
    "x-model-digest": "ab",
    "x-steps": "2",
    "x-seed": "0",
    "server-timing": "decode;dur=1.5, sample;dur=20",
    "x-request-id": "r1",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tmp_path_factory.mktemp("client"))) as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a client asks for; none is made."""
    asked: list[float] = []
    do = BlockingDriver.do

    def hastily(driver: BlockingDriver, effect: Any) -> object:
        return asked.append(effect.seconds) if isinstance(effect, Sleep) else do(driver, effect)

    monkeypatch.setattr(BlockingDriver, "do", hastily)
    return asked


def answering(*answers: httpx2.Response | Exception, **options: Any) -> tuple[Client, list[httpx2.Request]]:
    """A client whose server gives these answers in turn, the last one for ever."""
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        answer = answers[min(len(seen), len(answers) - 1)]
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://gateway/rddm/", transport=httpx2.MockTransport(handler), **options), seen


def problem(status: int, slug: str = "queue-full", **headers: str) -> httpx2.Response:
    body = {"type": f"urn:rddm:problem:{slug}", "title": "T", "status": status, "detail": "D", "request_id": "r9"}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json", **headers})


def events(*named: tuple[str, dict[str, Any]], first: int = 1) -> httpx2.Response:
    text = "".join(f"id: {k}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for k, (name, data) in enumerate(named, first))
    return httpx2.Response(200, text=": hello\n\n" + text, headers={"content-type": "text/event-stream"})


def step(number: int, steps: int = 2) -> tuple[str, dict[str, Any]]:
    preview = "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
    return "step", {"step": number, "steps": steps, "preview": preview, "width": 8, "height": 4, "elapsed_ms": 3.5}


JOB = {
    "id": "j/1",
    "status": "queued",
    "kind": "restore",
    "step": 0,
    "steps": 2,
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T01:00:00Z",
    "model": "lowlight",
    "seed": 0,
    "links": {},
}


# Against a running gateway


def test_restores_bytes_and_files_alike(gateway: Live, png: bytes, tmp_path: Path) -> None:
    (tmp_path / "dark.png").write_bytes(png)
    with Client(gateway.url) as client:
        sent, read = client.restore(png), client.restore(str(tmp_path / "dark.png"))
    assert sent.image == read.image
    assert (sent.media_type, sent.model, sent.steps, sent.seed) == ("image/png", "lowlight", 2, 0)
    assert {"decode", "sample", "encode"} <= set(sent.timings)
    assert sent.request_id
    assert sent.location
    assert sent.location.startswith("/results/")
    before, after = np.asarray(Image.open(tmp_path / "dark.png"), int), np.asarray(Image.open(BytesIO(sent.image)), int)
    assert np.abs(after - before - 64).max() <= 1  # the fake network takes half of the range from -1 to 1 off: 64 of 255


def test_options_reach_the_server(gateway: Live, png: bytes) -> None:
    with Client(gateway.url) as client:
        made = client.restore(png, task="keeper", steps=3, seed=2**63 - 1, format="jpeg")
        residual = client.restore(png, returns="residual")
    assert (made.model, made.steps, made.seed, made.media_type) == ("keeper", 3, 2**63 - 1, "image/jpeg")
    assert residual.media_type == "image/png"
    assert residual.image != made.image


def test_progress_tells_every_step_and_gives_the_same_picture(gateway: Live, png: bytes) -> None:
    steps: list[Step] = []
    with Client(gateway.url) as client:
        heard = client.restore(png, steps=4, on_step=steps.append)
        silent = client.restore(png, steps=4)
    assert heard.image == silent.image
    assert [(one.step, one.steps) for one in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(Image.open(BytesIO(one.preview)).size == (one.width, one.height) == (40, 24) for one in steps)


def test_a_listener_that_raises_ends_the_call_with_its_own_error(gateway: Live, png: bytes) -> None:
    def fail(_: Step) -> None:
        raise ZeroDivisionError("the caller's")

    with Client(gateway.url) as client, pytest.raises(ZeroDivisionError, match="the caller's"):
        client.restore(png, on_step=fail)
    assert gateway.until_idle()


def test_a_mask_goes_along(gateway: Live, png: bytes) -> None:
    mask = file_of(np.full((24, 40), 255, np.uint8))
    with Client(gateway.url) as client:
        assert client.restore(png, mask=mask, task="unshadow").model == "unshadow"
        with pytest.raises(Refused) as refused:
            client.restore(png, mask=file_of(np.full((5, 5), 255, np.uint8)), task="unshadow")
    assert refused.value.status in {400, 422}


def test_generates_with_the_given_seeds(gateway: Live) -> None:
    with Client(gateway.url) as client:
        made = client.generate(n=3, seed=7)
        alone = client.generate(seed=8)
        sheet = client.generate(n=3, seed=7, grid=True)
        chosen = client.generate()
        actual = client.generate(n=3, seed=7, on_step=lambda _: None)
    assert made.seeds == (7, 8, 9)
    assert made.images[1] == alone.images[0]
    assert actual.images == made.images
    assert len(sheet.images) == 1
    assert 0 <= chosen.seed < 2**32


def test_lists_models(gateway: Live) -> None:
    with Client(gateway.url) as client:
        models = {model.name: model for model in client.models()}
    assert set(models) == {"lowlight", "keeper", "unshadow", "emoji"}
    assert (models["lowlight"].kind, models["emoji"].kind) == ("restore", "generate")
    assert models["lowlight"].steps.min <= models["lowlight"].steps.default <= models["lowlight"].steps.max
    assert models["unshadow"].takes_mask


def test_what_is_refused_is_raised_with_the_servers_words_and_not_sent_again(gateway: Live) -> None:
    with Client(gateway.url) as client:
        with pytest.raises(Refused) as text:
            client.restore(b"this is no picture")
        with pytest.raises(Refused) as value:
            client.restore(file_of(pixels_of(8, 8)), steps=999)
        with pytest.raises(Refused) as unknown:
            client.restore(file_of(pixels_of(8, 8)), task="nosuch")
    assert (text.value.status, value.value.status, unknown.value.status) == (415, 422, 404)
    assert "999" in value.value.detail
    assert "nosuch" in unknown.value.detail
    assert text.value.request_id


def test_a_listeners_stop_iteration_is_no_result() -> None:
    client, _ = answering(events(step(1)))

    def stop(_: Step) -> None:
        raise StopIteration("the caller's")

    with client, pytest.raises(StopIteration, match="the caller's"):
        client.restore(b"picture", on_step=stop)


def test_an_answer_that_cannot_be_unpacked_is_an_error_of_the_clients(pauses: list[float]) -> None:
    heads = {"content-encoding": "gzip", "content-type": "application/json"}

    def garbled(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=httpx2.ByteStream(b"no gzip"), headers=heads)

    with (
        Client("http://gateway", transport=httpx2.MockTransport(garbled)) as client,
        pytest.raises(Unreachable, match="DecodingError"),
    ):
        client.models()
    assert len(pauses) == 4


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_or_key_that_cannot_be_one_is_said_at_once(kind: Any) -> None:
    for address in ("localhost:8000", "gateway", "http://", "http://[::1", "ftp://gateway"):
        with pytest.raises(ValueError, match="is no address of a gateway; expected http://HOST:PORT"):
            kind(address)
    for key in ("schlüssel", "two\nlines"):
        with pytest.raises(ValueError, match="expected printable ASCII in one line") as refused:
            kind("http://gateway", api_key=key)
        assert key not in str(refused.value)


def test_a_key_is_sent_and_never_shown(tmp_path: Path, png: bytes) -> None:
    keys = f"anna {sha256(b'correct-horse').hexdigest()}\n"
    with live(settings_for(tmp_path, keys=keys)) as locked:
        with Client(locked.url) as client, pytest.raises(Locked):
            client.restore(png)
        with Client(locked.url, api_key="correct-horse") as client:
            assert client.restore(png).model == "lowlight"
            assert "correct-horse" not in repr(vars(client))


async def test_the_awaiting_client_gives_what_the_blocking_one_gives(gateway: Live, png: bytes) -> None:
    steps: list[int] = []

    async def listen(step: Step) -> None:
        await asyncio.sleep(0)
        steps.append(step.step)

    with Client(gateway.url) as blocking:
        expected = blocking.restore(png)
    async with AsyncClient(gateway.url) as client:
        several = await asyncio.gather(*(client.restore(png) for _ in range(4)))
        await client.restore(png, seed=77, on_step=listen)
        models = await client.models()
        generated = await client.generate(n=2, seed=3)
    assert {one.image for one in several} == {expected.image}
    assert steps == [1, 2]
    assert len(models) == 4
    assert generated.seeds == (3, 4)


async def test_cancelling_the_task_cancels_the_work(tmp_path: Path, png: bytes) -> None:
    with live(settings_for(tmp_path)) as slow:
        slow.engine.seconds = 0.3
        arrived = asyncio.Event()
        async with AsyncClient(slow.url) as client:
            task = asyncio.create_task(client.restore(png, steps=10, on_step=lambda _: arrived.set()))
            await asyncio.wait_for(arrived.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        calls = slow.engine.calls
        assert await asyncio.to_thread(slow.until_idle)
        assert slow.engine.calls <= calls + 1


def test_a_job_is_handed_in_followed_and_fetched(gateway: Live, png: bytes) -> None:
    steps: list[int] = []
    with Client(gateway.url) as client:
        job = client.submit_restore(png, steps=3, seed=61, idempotency_key="job-61")
        same = client.submit_restore(png, steps=3, seed=61, idempotency_key="job-61")
        with pytest.raises(Refused) as other:
            client.submit_restore(png, steps=2, seed=61, idempotency_key="job-61")
        made = client.wait(job, lambda one: steps.append(one.step))
        assert isinstance(made, Restored)
        assert made.image == client.restore(png, steps=3, seed=61).image
        assert (client.job(job.id).status, client.job(job.id).finished) == ("succeeded", True)
        assert job.id in {one.id for one in client.jobs()}
    assert (same.id, other.value.status, steps) == (job.id, 409, [1, 2, 3])


async def test_a_job_is_cancelled_and_then_unknown(tmp_path: Path, png: bytes) -> None:
    with live(settings_for(tmp_path)) as slow:
        slow.engine.seconds = 0.3
        async with AsyncClient(slow.url) as client:
            job = await client.submit_generate(n=2, steps=10)
            assert (await client.cancel(job)).status == "cancelled"
            with pytest.raises(Refused) as gone:
                await client.job(job.id)
        assert gone.value.status == 404
        assert await asyncio.to_thread(slow.until_idle)


# Against answers given by heart


@pytest.mark.parametrize("wait", ["3", "in three seconds"])
def test_what_is_busy_is_asked_again_when_it_says(pauses: list[float], png: bytes, wait: str) -> None:
    later = wait if wait.isdigit() else format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    client, seen = answering(problem(429, **{"retry-after": later}), httpx2.Response(200, content=b"x", headers=HEADS))
    restored = client.restore(png)
    assert restored.image == b"x"
    assert dict(restored.timings) == {"decode": 1.5, "sample": 20.0}
    assert pauses == [pytest.approx(3, abs=1.01)]
    assert len(seen) == 2
    assert seen[0].read() == seen[1].read() == png


def test_without_a_hint_pauses_double_and_are_spread(pauses: list[float], png: bytes) -> None:
    client, seen = answering(problem(503, "engine-unavailable"))
    with pytest.raises(Overloaded) as raised:
        client.restore(png)
    assert len(seen) == 5
    assert [0.25 * 2**k <= pause <= 0.5 * 2**k for k, pause in enumerate(pauses)] == [True] * 4
    assert (raised.value.slug, raised.value.request_id) == ("engine-unavailable", "r9")


def test_a_wait_longer_than_allowed_is_not_waited(pauses: list[float], png: bytes) -> None:
    client, seen = answering(problem(429, **{"retry-after": "3600"}))
    with pytest.raises(Overloaded) as raised:
        client.restore(png)
    assert (len(seen), pauses, raised.value.retry_after) == (1, [], 3600.0)


def test_a_server_that_cannot_be_reached_is_asked_again_but_a_slow_one_is_not(pauses: list[float], png: bytes) -> None:
    refused, seen = answering(httpx2.ConnectError("refused"))
    with pytest.raises(Unreachable, match="http://gateway"):
        refused.restore(png)
    assert len(seen) == 5
    slow, seen = answering(httpx2.ReadTimeout("slow"))
    with pytest.raises(Unreachable):
        slow.restore(png)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}), Unexpected),
        (httpx2.Response(404, text="<html>", headers={"content-type": "text/html"}), Refused),
        (httpx2.Response(500, text="{", headers={"content-type": "application/json"}), Problem),
        (httpx2.Response(403, text="no"), Locked),
        (httpx2.Response(301, headers={"location": "https://gateway/"}), Problem),
    ],
)
def test_a_stranger_in_between_is_an_error_of_its_own_kind(png: bytes, answer: httpx2.Response, kind: type[Exception]) -> None:
    client, _ = answering(answer)
    with pytest.raises(kind):
        client.restore(png)


def test_the_address_keeps_its_prefix_and_flags_are_lower_case(png: bytes) -> None:
    client, seen = answering(httpx2.Response(200, content=b"x", headers=HEADS), api_key="k")
    client.restore(png, returns="steps", seed=5)
    client.generate(grid=True, n=2)
    assert str(seen[0].url) == "http://gateway/rddm/restore?return=steps&seed=5"
    assert str(seen[1].url) == "http://gateway/rddm/generate?grid=true&n=2"
    assert seen[0].headers["authorization"] == "Bearer k"


def test_a_problem_in_the_stream_is_raised(png: bytes) -> None:
    client, _ = answering(events(step(1), ("error", {"type": "urn:rddm:problem:x", "title": "T", "status": 504, "detail": "late"})))
    heard: list[int] = []
    with pytest.raises(Overloaded, match="late"):
        client.restore(png, on_step=lambda one: heard.append(one.step))
    assert heard == [1]


@pytest.mark.parametrize(
    "stream", [events(step(1)), events(("result", {"image": "!"})), events(("step", {"step": 1})), events(("error", {}))]
)
def test_a_stream_that_breaks_the_contract_is_an_error(png: bytes, stream: httpx2.Response) -> None:
    client, _ = answering(stream)
    with pytest.raises((Unreachable, Unexpected)):
        client.restore(png, on_step=lambda _: None)


def test_a_job_is_followed_over_a_broken_stream_from_where_it_was(pauses: list[float], png: bytes) -> None:
    done = JOB | {"status": "succeeded", "step": 2}
    client, seen = answering(
        httpx2.Response(202, json=JOB),
        events(step(1)),
        events(step(2), ("result", done), first=2),
        httpx2.Response(200, content=b"x", headers=HEADS),
    )
    heard: list[int] = []
    job = client.submit_restore(png, idempotency_key="mine")
    result = client.wait(job, lambda one: heard.append(one.step))
    assert isinstance(result, Restored)
    assert heard == [1, 2]
    assert seen[0].headers["idempotency-key"] == "mine"
    assert seen[0].headers["prefer"] == "respond-async"
    assert [request.headers.get("last-event-id") for request in seen[1:3]] == [None, "1"]
    assert [request.url.raw_path for request in seen[1:]] == [b"/rddm/jobs/j%2F1/events"] * 2 + [b"/rddm/jobs/j%2F1/result"]


def test_a_retried_submission_is_the_same_job(pauses: list[float]) -> None:
    client, seen = answering(problem(503), httpx2.Response(202, json=JOB))
    assert client.submit_generate(n=4).finished is False
    keys = [request.headers["idempotency-key"] for request in seen]
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 16


def test_a_failed_job_raises_its_problem(png: bytes) -> None:
    client, _ = answering(events(("error", {"type": "urn:rddm:problem:x", "title": "T", "status": 500, "detail": "broke"})))
    job = answering(httpx2.Response(202, json=JOB))[0].submit_restore(png)
    with pytest.raises(Problem, match="broke"):
        client.wait(job)


def test_jobs_are_listed_read_and_cancelled(png: bytes) -> None:
    client, seen = answering(
        httpx2.Response(200, json={"jobs": [JOB, JOB]}),
        httpx2.Response(200, json=JOB | {"status": "running"}),
        httpx2.Response(200, json=JOB | {"status": "cancelled"}),
    )
    assert len(client.jobs()) == 2
    job = client.job("j/1")
    assert (job.status, client.cancel(job).status) == ("running", "cancelled")
    assert [request.method for request in seen] == ["GET", "GET", "DELETE"]


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)])
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(httpx2.Response(503, headers={"retry-after": value})) == seconds


def test_needs_httpx_only() -> None:
    """Every import of the package is the standard library's, httpx2, or relative: it is published under another name."""
    folder = Path(service.client.__file__).parent
    names = {name for path in folder.glob("*.py") for name in imported(path)}
    strangers = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    assert strangers == {"httpx2"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


def test_the_clients_formats_are_those_that_are_written() -> None:
    """The client imports nothing of the service, and so has a list of its own."""
    for options in (RestoreOptions, GenerateOptions):
        assert list(get_args(get_type_hints(options)["format"])) == list(FORMATS)


def test_every_parameter_of_the_server_is_an_option_of_the_client() -> None:
    renamed = {"returned": "returns"}
    assert {renamed.get(name, name) for name in RestoreParameters.model_fields} == set(get_type_hints(RestoreOptions))
    assert set(GenerateParameters.model_fields) == set(get_type_hints(GenerateOptions))


def test_strength_brightness_and_several_tasks_go_through(gateway: Live, png: bytes) -> None:
    with Client(gateway.url) as client:
        result = client.restore(png, task="keeper,lowlight", strength=0.5, brightness=-1.0)
        assert (result.model, result.steps) == ("keeper, lowlight", 4)
        steps: list[int] = []
        same = client.restore(
            png, task="keeper,lowlight", strength=0.5, brightness=-1.0, on_step=lambda step: steps.append(step.step)
        )
        assert (same.model, same.steps, same.image) == (result.model, result.steps, result.image)
        assert [model.takes_brightness for model in client.models() if model.name in {"keeper", "lowlight"}] == [False, True]
