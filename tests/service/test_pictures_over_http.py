"""POST /restore and /generate: bodies, shapes of the answer, progress, headers."""

import asyncio
import base64
import json
import logging
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds
from service.pictures.workers.pool import CodecPool
from tests.service.conftest import RunningApp, file_of, pixels_of, running, settings_for
from tests.service.jobs.test_queue import events_of
from tests.service.serving import FakeServingEngine
from tests.service.test_pictures import opened


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_every_kind_of_body_gives_the_same_picture(gateway: RunningApp, png: bytes) -> None:
    raw = await gateway.client.post("/restore", content=png, headers={"Content-Type": "image/png"})
    form = await gateway.client.post("/restore", files={"image": ("a.png", png)})
    response = await gateway.client.post("/restore", json={"image": encoded(png)})
    url = await gateway.client.post(
        "/restore", json={"image": f"data:image/png;base64,{encoded(png)}"}, headers={"Accept": "image/png"}
    )
    assert raw.content == form.content == base64.b64decode(response.json()["image"]) == url.content
    brighter = np.asarray(opened(raw.content)).astype(int) - np.asarray(opened(png))
    assert np.abs(brighter - 63.75).max() <= 1


async def test_another_format_of_the_same_result_can_be_asked_for(tmp_path: Path, png: bytes) -> None:
    engine = FakeServingEngine(seconds=0.2)
    async with running(settings_for(tmp_path), engine) as gateway:
        kinds = ["png", "webp", "png"]
        asked = [gateway.client.post("/restore", content=png, headers={"Accept": f"image/{kind}"}) for kind in kinds]
        answers = await asyncio.gather(*asked)
        assert [opened(answer.content).format for answer in answers] == ["PNG", "WEBP", "PNG"]
        assert answers[0].content == answers[2].content
        assert gateway.state.results.misses == 1


async def test_the_answer_tells_how_it_was_made(gateway: RunningApp, png: bytes) -> None:
    answer = await gateway.client.post("/restore?steps=3&seed=11", content=png)
    heads = answer.headers
    assert (heads["x-model"], heads["x-steps"], heads["x-seed"]) == ("lowlight", "3", "11")
    assert heads["x-model-digest"] == gateway.state.repository.models()["lowlight"].digest
    assert re.fullmatch(r"decode;dur=[\d.]+, sample;dur=[\d.]+, encode;dur=[\d.]+", heads["server-timing"])
    again = await gateway.client.get(heads["content-location"])
    assert (again.content, again.headers["etag"]) == (answer.content, heads["etag"])


async def test_the_envelope_tells_the_same(gateway: RunningApp, png: bytes) -> None:
    answer = await gateway.client.post("/restore?seed=11", content=png, headers={"Accept": "application/json"})
    envelope = answer.json()
    assert (envelope["width"], envelope["height"], envelope["model"], envelope["steps"], envelope["seed"]) == (
        40,
        24,
        "lowlight",
        2,
        11,
    )
    assert set(envelope["timings"]) == {"decode", "sample", "encode"}
    assert (await gateway.client.get(envelope["location"])).content == base64.b64decode(envelope["image"])


async def test_a_task_is_a_models_name_or_its_task(gateway: RunningApp, png: bytes) -> None:
    for task in ("keeper", "nothing"):
        assert (await gateway.client.post("/restore", params={"task": task}, content=png)).headers["x-model"] == "keeper"


async def test_a_mask_goes_to_the_model_that_takes_one(gateway: RunningApp, png: bytes) -> None:
    mask = file_of(np.full((24, 40), 255, np.uint8))
    answer = await gateway.client.post("/restore?task=shadow", files={"image": ("a", png), "mask": ("m", mask)})
    assert answer.headers["x-model"] == "unshadow"
    none = await gateway.client.post("/restore?task=shadow", content=png)
    assert (none.status_code, "mask" in none.json()["detail"]) == (422, True)
    other = await gateway.client.post(
        "/restore?task=shadow", files={"image": ("a", png), "mask": ("m", file_of(pixels_of(24, 41)))}
    )
    assert (other.status_code, "41 x 24" in other.json()["detail"]) == (422, True)


async def test_steps_are_streamed_with_previews_and_then_the_result(gateway: RunningApp) -> None:
    picture = file_of(pixels_of(300, 400))
    answer = await gateway.client.post("/restore?steps=4", content=picture, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [(number, name) for number, name, _ in events] == [(1, "step"), (2, "step"), (3, "step"), (4, "step"), (5, "result")]
    for step, (_, _, data) in enumerate(events[:-1], 1):
        assert (data["step"], data["steps"]) == (step, 4)
        preview = opened(base64.b64decode(data["preview"].partition(",")[2]))
        assert preview.format == "JPEG"
        assert preview.size == (data["width"], data["height"])
        assert max(preview.size) <= 512
    direct = await gateway.client.post("/restore?steps=4", content=picture)
    assert base64.b64decode(events[-1][2]["image"]) == direct.content


async def test_a_bad_request_is_a_plain_problem_before_a_stream_begins(gateway: RunningApp, png: bytes) -> None:
    for query, content in (("?steps=99", png), ("?task=none", png), ("", b"words")):
        answer = await gateway.client.post(f"/restore{query}", content=content, headers={"Accept": "text/event-stream"})
        assert answer.headers["content-type"] == "application/problem+json"


async def test_pictures_of_a_set_are_those_of_their_own_seeds_and_a_grid_holds_them(gateway: RunningApp) -> None:
    envelope = (await gateway.client.post("/generate?n=3&seed=5")).json()
    alone = [await gateway.client.post(f"/generate?seed={seed}") for seed in (5, 6, 7)]
    assert [one["seed"] for one in envelope["images"]] == [5, 6, 7]
    assert [base64.b64decode(one["image"]) for one in envelope["images"]] == [one.content for one in alone]
    grid = np.asarray(opened((await gateway.client.post("/generate?n=3&seed=5&grid=true")).content))
    assert grid.shape == (66, 66, 3)
    assert np.array_equal(grid[34:, :32], np.asarray(opened(alone[2].content)))


async def test_the_steps_of_a_set_show_all_its_pictures(gateway: RunningApp) -> None:
    await gateway.client.post("/generate?seed=6&steps=4")
    answer = await gateway.client.post("/generate?n=3&seed=5&steps=4", headers={"Accept": "text/event-stream"})
    events = events_of(answer.text)
    assert [name for _, name, _ in events][-1] == "result"
    steps = [data["step"] for _, name, data in events if name == "step"]
    assert steps == sorted(set(steps))
    assert steps[-1] == 4
    preview = opened(base64.b64decode(events[-2][2]["preview"].partition(",")[2]))
    grid = opened((await gateway.client.post("/generate?n=3&seed=5&steps=4&grid=true")).content)
    assert preview.size == grid.size == (66, 66)
    light = [np.asarray(picture.convert("L"), np.float64).ravel() for picture in (preview, grid)]
    assert np.corrcoef(light)[0, 1] > 0.8  # a small JPEG of noise keeps little of its colour


async def test_a_seed_that_is_chosen_is_named_and_gives_the_same_bytes(gateway: RunningApp) -> None:
    first = await gateway.client.post("/generate")
    assert 0 <= int(first.headers["x-seed"]) < 2**32
    again = await gateway.client.post("/generate", params={"seed": first.headers["x-seed"]})
    assert first.content == again.content
    other = await gateway.client.post("/generate")
    assert other.headers["x-seed"] != first.headers["x-seed"]


async def test_generate_takes_json_and_answers_it(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/generate", json={"seed": 3, "steps": 4, "format": "webp"})
    assert (answer.json()["media_type"], answer.json()["steps"]) == ("image/webp", 4)
    assert opened(base64.b64decode(answer.json()["image"])).size == (32, 32)


@pytest.mark.parametrize("body", [{"data": {"n": "4"}}, {"content": b'{"n": 4}', "headers": {"content-type": "text/plain"}}])
async def test_generate_refuses_what_it_would_not_read(gateway: RunningApp, body: dict[str, Any]) -> None:
    answer = await gateway.client.post("/generate", **body)
    assert answer.status_code == 415
    assert "expected none, or application/json" in answer.json()["detail"]
    empty = await gateway.client.post("/generate", content=b"", headers={"content-type": "application/x-www-form-urlencoded"})
    assert empty.status_code == 200


async def test_pictures_that_wait_for_the_same_result_count_as_memory(tmp_path: Any) -> None:
    engine = FakeServingEngine()
    async with running(settings_for(tmp_path, max_held_megapixels=0.02), engine) as gateway:
        engine.gate, engine.entered = asyncio.Event(), asyncio.Event()
        picture = file_of(pixels_of(120, 120))
        first = asyncio.create_task(gateway.client.post("/restore", content=picture))
        await engine.entered.wait()
        second = await gateway.client.post("/restore", content=picture)
        assert (second.status_code, second.headers["retry-after"]) == (429, "2")
        engine.gate.set()
        assert (await first).status_code == 200
        assert (await gateway.client.post("/restore?seed=2", content=picture)).status_code == 200


async def test_what_is_kept_meets_a_deadline_that_making_it_would_not(tmp_path: Any, png: bytes) -> None:
    engine = FakeServingEngine(seconds=0.3)
    async with running(settings_for(tmp_path), engine) as gateway:
        made = await gateway.client.post("/restore?steps=3", content=png)
        assert (await gateway.client.post("/restore?steps=3&seed=9&max_latency_ms=250", content=png)).status_code == 504
        kept = await gateway.client.post("/restore?steps=3&max_latency_ms=250", content=png)
        assert (kept.status_code, kept.headers["x-steps"], kept.content) == (200, "3", made.content)


async def test_a_deadline_ends_the_wait_for_a_codec_process(tmp_path: Any, png: bytes) -> None:
    codecs = CodecPool(Bounds(10**7, 4096), 1, 30.0, 1 << 31)
    async with running(settings_for(tmp_path), codecs=codecs) as gateway:
        worker = codecs._idle.take()
        late = await gateway.client.post("/restore?max_latency_ms=200", content=png)
        assert late.status_code == 504
        assert "waited to be read" in late.json()["detail"]
        codecs._idle.put(worker)
        assert (await gateway.client.post("/restore", content=png)).status_code == 200


async def test_a_deadline_takes_steps_away_and_never_adds_any(tmp_path: Any, png: bytes) -> None:
    async with running(settings_for(tmp_path), FakeServingEngine(seconds=0.05)) as gateway:
        roomy = await gateway.client.post("/restore?steps=3&max_latency_ms=60000", content=png)
        assert roomy.headers["x-steps"] == "3"
        refused = await gateway.client.post("/restore?steps=3&seed=5&max_latency_ms=1", content=png)
        assert refused.status_code == 504


async def test_a_deadline_counts_the_writing_of_the_file(gateway: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    path, picture, png = "/restore?max_latency_ms=20000&seed=1", file_of(pixels_of(160, 160)), FORMATS["png"]
    costs = gateway.state.restoration.budgets.encoding
    assert costs.seconds(png, 160 * 160) == 0
    assert (await gateway.client.post("/restore", content=picture)).status_code == 200
    assert costs.seconds(png, 160 * 160) > 0
    costs.record(png, 160 * 160, 1000.0)
    calls = gateway.engine.calls
    assert (await gateway.client.post(path, content=picture)).status_code == 504
    assert gateway.engine.calls == calls
    assert (await gateway.client.post(f"{path}&format=webp", content=picture)).status_code == 200
    monkeypatch.setattr("service.restoration.budgets.MAX_AGE_SECONDS", 0.0)  # as if a minute had passed
    assert (await gateway.client.post(path, content=picture)).status_code == 200


async def test_the_models_are_listed_with_their_rules(gateway: RunningApp) -> None:
    listing = (await gateway.client.get("/models")).json()
    models = {one["name"]: one for one in listing["models"]}
    assert listing["default"] == "lowlight"
    assert models["lowlight"]["steps"] == {"default": 2, "min": 1, "max": 10}
    assert models["emoji"]["size"]["image_size"] == [32, 32]
    assert (models["unshadow"]["takes_mask"], models["emoji"]["kind"]) == (True, "generate")
    assert (await gateway.client.get("/models/emoji")).json() == models["emoji"]


async def test_the_default_nobody_set_is_a_model_that_is_there(settings: Any, png: bytes) -> None:
    engine = FakeServingEngine()
    del engine.loaded["lowlight"]
    async with running(settings, engine) as gateway:
        assert (await gateway.client.get("/models")).json()["default"] == "keeper"
        assert (await gateway.client.post("/restore", content=png)).headers["x-model"] == "keeper"
        assert (await gateway.client.post("/restore?task=lowlight", content=png)).status_code == 404


async def test_a_default_that_was_set_and_is_not_there_is_reported(tmp_path: Path, png: bytes, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        async with running(settings_for(tmp_path, default_model="mine")) as gateway:
            assert (await gateway.client.get("/models")).json()["default"] == "mine"
            assert (await gateway.client.post("/restore", content=png)).status_code == 404
    assert "the default model 'mine' is not loaded; those that restore are ['keeper'" in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"])
async def test_health_is_answered(gateway: RunningApp, path: str) -> None:
    assert (await gateway.client.get(path)).status_code == 200


async def test_ready_means_that_every_model_answered(gateway: RunningApp) -> None:
    states = (await gateway.client.get("/readyz")).json()["models"]
    assert states["lowlight"] == {"ready": True, "version": 1}
    gateway.engine.fault = RuntimeError("no")
    gateway.state.readiness._at = -1e9
    answer = await gateway.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["models"]["lowlight"]["ready"] is False
    assert (await gateway.client.get("/readyz?require=any")).status_code == 503


async def test_a_load_balancer_keeps_a_gateway_that_has_one_failing_model(gateway: RunningApp) -> None:
    states = await gateway.state.readiness.states()
    gateway.state.readiness._states = states | {"lowlight": {"ready": False, "version": 1}}
    assert (await gateway.client.get("/readyz")).status_code == 503
    assert (await gateway.client.get("/readyz?require=any")).status_code == 200
    assert (await gateway.client.get("/readyz?require=some")).status_code == 422


async def test_the_document_shows_requests_that_work(gateway: RunningApp) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    bodies = document["paths"]["/restore"]["post"]["requestBody"]["content"]
    [example] = bodies["application/json"]["examples"].values()
    answer = await gateway.client.post("/restore", json=example["value"])
    assert answer.status_code == 200
    assert Image.open(BytesIO(base64.b64decode(answer.json()["image"]))).size == (16, 16)
    assert json.dumps(document).count("urn:rddm:problem") >= 1
    assert (await gateway.client.get("/docs")).headers["location"] == "static/reference.html"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/restore", "POST"),
        ("POST", "/models", "GET, HEAD"),
        ("PUT", "/jobs/1", "DELETE, GET, HEAD"),
        ("GET", "/v1/images/edits", "POST"),
        ("POST", "/static/app.js", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("HEAD", "/restore", "POST"),
    ],
)
async def test_another_method_is_answered_with_those_there_are(gateway: RunningApp, method: str, path: str, allowed: str) -> None:
    answer = await gateway.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert answer.json()["detail"] == f"{method} is not answered here; expected {allowed}"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/models", "/models/lowlight", "/docs", "/static/app.js", "/nothing"])
async def test_head_is_the_head_of_get(gateway: RunningApp, path: str) -> None:
    whole, head = await gateway.client.get(path), await gateway.client.head(path)
    headers = {name: value for name, value in head.headers.items() if name not in {"x-request-id", "content-length"}}
    assert head.status_code == whole.status_code
    assert headers == {name: value for name, value in whole.headers.items() if name in headers}
    assert head.content == b""


async def test_a_result_is_looked_up_without_its_bytes(gateway: RunningApp, png: bytes) -> None:
    made = await gateway.client.post("/restore", content=png)
    head = await gateway.client.head(made.headers["content-location"])
    assert (head.status_code, head.headers["etag"], head.content) == (200, made.headers["etag"], b"")
    assert int(head.headers["content-length"]) == len(made.content)
    assert (
        await gateway.client.head(made.headers["content-location"], headers={"If-None-Match": head.headers["etag"]})
    ).status_code == 304
    assert (
        'rddm_requests_total{method="HEAD",route="/results/{result}",status="304"}' in (await gateway.client.get("/metrics")).text
    )


async def test_an_accept_header_may_come_in_lines(gateway: RunningApp, png: bytes) -> None:
    lines = [("accept", "text/html"), ("accept", "image/webp")]
    answer = await gateway.client.post("/restore", content=png, headers=lines)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    response = await gateway.client.post("/generate?n=2", headers=[("accept", "text/html"), ("accept", "application/json")])
    assert response.status_code == 200


@pytest.mark.parametrize("address", ["/restore?steps=1&seed=1&steps=2", "/generate?n=2&n=3", "/restore?steps=2&steps=2"])
async def test_a_value_that_comes_twice_is_refused(gateway: RunningApp, png: bytes, address: str) -> None:
    answer = await gateway.client.post(address, content=png if "restore" in address else b"")
    assert answer.status_code == 422
    assert "is in the query 2 times; expected it once" in answer.json()["detail"]
