"""POST /restore/video: a job whose steps are frames; what is refused, at once and in words."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.settings import Settings
from tests.service.live import Live
from tests.service.serving import FakeServingEngine
from tests.service.video.clips import Recipe, packets_of, read_clip, write_clip

KEY, OTHER_KEY = "a" * 40, "b" * 40


def settings_in(folder: Path, **facts: Any) -> Settings:
    return Settings(port=0, codec_workers=1, jobs_file=folder / "jobs.sqlite", clips_folder=folder / "clips", **facts)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(settings_in(tmp_path, max_clip_seconds=5, max_clip_bytes=200_000), FakeServingEngine())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "in.mp4", Recipe(times=range(0, 20 * 3750, 3750), audio=["aac"]))


def sent(client: httpx2.Client, clip: Path, **headers: str) -> dict[str, Any]:
    """The job that is made of a clip."""
    request_headers = {"content-type": "video/mp4", **headers}
    answer = client.post("/restore/video?task=keeper", content=clip.read_bytes(), headers=request_headers)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def ended(client: httpx2.Client, job: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """The job once it is no longer queued or running."""
    until = time.monotonic() + seconds
    while (document := client.get(job["links"]["self"]).json())["status"] in {"queued", "running"}:
        assert time.monotonic() < until, document
        time.sleep(0.05)
    return dict(document)


def test_a_clip_becomes_a_job_whose_steps_are_frames(live: Live, clip: Path, tmp_path: Path) -> None:
    answer = live.client.post("/restore/video?task=keeper", content=clip.read_bytes(), headers={"content-type": "video/mp4"})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["steps"], job["clip"]["steady"], job["clip"]["codec"]) == ("video", 20, "motion", "h264")
    done = ended(live.client, job)
    assert (done["status"], done["step"], done["steps"], done["model"]) == ("succeeded", 20, 20, "keeper")
    result = live.client.get(job["links"]["result"])
    assert (result.headers["content-type"], result.headers["x-steady"], result.headers["x-frames"]) == ("video/mp4", "motion", "20")
    restored = tmp_path / "out.mp4"
    restored.write_bytes(result.content)
    assert len(read_clip(restored)[1]) == 20
    assert packets_of(restored, "audio") == packets_of(clip, "audio")
    part = live.client.get(job["links"]["result"], headers={"range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, result.content[:100])
    with live.client.stream("GET", job["links"]["events"]) as events:
        stream_text = "".join(events.iter_text())
    assert "event: step" in stream_text
    assert '"before":"data:image/jpeg' in stream_text
    folders = list((tmp_path / "clips").iterdir())
    assert [path.name for path in folders[0].iterdir()] == ["result.mp4"]
    live.client.delete(job["links"]["self"])
    assert not list((tmp_path / "clips").iterdir())


@pytest.mark.parametrize(
    ("query", "body", "kind", "status", "words"),
    [
        ("", b"", "video/mp4", 400, "0 bytes"),
        ("", b"no clip" * 100, "video/mp4", 415, "expected MP4"),
        ("", b"\0\0\0\x20ftypisom" + bytes(600), "video/mp4", 400, "damaged"),
        ("", b"x", "text/plain", 415, "expected video/"),
        ("?task=nobody", None, "video/mp4", 404, "unknown task"),
        ("?task=unshadow", None, "video/mp4", 422, "needs a mask"),
        ("?codec=divx", None, "video/mp4", 422, "h264"),
        ("?codec=ffv1&container=mov", None, "video/mp4", 422, "FFV1 is not written into mov"),
        ("?quality=99", None, "video/mp4", 422, "63"),
        ("?quality=60", None, "video/mp4", 422, "0 (best) to 51"),
        ("?steps=77", None, "video/mp4", 422, "steps"),
        ("?task=auto&steps=2", None, "video/mp4", 422, "task = auto stands alone"),
        ("?task=keeper&brightness=1", None, "video/mp4", 422, "brightness is for models that brighten"),
        ("?brightness=1&brightness_mean=0.5", None, "video/mp4", 422, "not both"),
        ("?speed=2", None, "video/mp4", 422, "speed"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once_and_leaves_nothing(
    live: Live, clip: Path, tmp_path: Path, query: str, body: bytes | None, kind: str, status: int, words: str
) -> None:
    content = clip.read_bytes() if body is None else body
    answer = live.client.post(f"/restore/video{query}", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.text
    assert live.client.get("/jobs").json() == {"jobs": []}
    assert not (tmp_path / "clips").exists() or not list((tmp_path / "clips").iterdir())


def test_limits_on_seconds_and_bytes(live: Live, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", Recipe(times=range(0, 10 * 90000, 90000)))
    answer = live.client.post("/restore/video", content=long.read_bytes(), headers={"content-type": "video/mp4"})
    assert (answer.status_code, "at most 5 s" in answer.text) == (413, True)
    answer = live.client.post("/restore/video", content=bytes(200_001), headers={"content-type": "video/mp4"})
    assert (answer.status_code, "at most 200000 bytes" in answer.text) == (413, True)


def test_a_cancelled_job_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    server = Live(settings_in(tmp_path), FakeServingEngine(seconds=0.2))
    server.start()
    try:
        job, again = (sent(server.client, clip, **{"idempotency-key": "once"}) for _ in range(2))
        assert again["id"] == job["id"]
        assert len(list((tmp_path / "clips").iterdir())) == 1
        assert server.client.delete(job["links"]["self"]).json()["status"] == "cancelled"
        assert not list((tmp_path / "clips").iterdir())
    finally:
        server.stop()


def test_a_gateway_that_went_down_goes_on_with_the_clip_at_its_next_start(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", Recipe(times=range(0, 70 * 3750, 3750)))
    server = Live(settings_in(tmp_path, drain_seconds=0), FakeServingEngine(seconds=0.02))
    server.start()
    job = sent(server.client, clip)
    work = tmp_path / "clips" / job["id"] / "work"
    until = time.monotonic() + 60
    while not (work / "00000.json").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    server.stop()
    server = Live(settings_in(tmp_path), FakeServingEngine())
    server.start()
    try:
        done = ended(server.client, job)
        assert (done["status"], done["step"]) == ("succeeded", 70)
    finally:
        server.stop()


def test_a_clip_spends_its_callers_quota_frame_by_frame(clip: Path, tmp_path: Path) -> None:
    """A frame of 64 x 48 costs 0.006144 megapixel-steps in two steps: 20 of them are more than half of a minute's 0.2."""
    keys = f"walker {hashlib.sha256(KEY.encode()).hexdigest()} 0.2"
    server = Live(settings_in(tmp_path, keys=keys), FakeServingEngine())
    server.start()
    try:
        server.client.headers["x-api-key"] = KEY
        job = sent(server.client, clip)
        assert ended(server.client, job)["status"] == "succeeded"
        left = server.client.get("/jobs")
        assert left.status_code == 200
    finally:
        server.stop()


def test_a_link_gives_one_result_without_a_key_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    keys = "\n".join(f"{name} {hashlib.sha256(key.encode()).hexdigest()}" for name, key in (("walker", KEY), ("other", OTHER_KEY)))
    server = Live(settings_in(tmp_path, keys=keys), FakeServingEngine())
    server.start()
    try:
        own, other = {"x-api-key": KEY}, {"x-api-key": OTHER_KEY}
        server.client.headers.update(own)
        jobs = [sent(server.client, clip) for _ in range(2)]
        assert [ended(server.client, job)["status"] for job in jobs] == ["succeeded"] * 2
        address, result = f"/jobs/{jobs[0]['id']}/link", jobs[0]["links"]["result"]
        link = server.client.post(address).json()["links"]["result"]
        body = server.client.get(result).content
        del server.client.headers["x-api-key"]
        part = server.client.get(link, headers={"range": "bytes=0-99"})
        assert (part.status_code, part.content) == (206, body[:100])
        changed = link.replace("until=1", "until=2")
        elsewhere = link.replace(jobs[0]["id"], jobs[1]["id"])
        for refused in (result, changed, elsewhere, f"{result}?signature=x", link.replace("/result", "/events"), address):
            assert server.client.get(refused).status_code in {401, 405}
        assert server.client.post(address).status_code == 401
        assert server.client.post(address, headers=other).status_code == 404
        server.client.delete(jobs[0]["links"]["self"], headers=own)
        assert server.client.get(link).status_code == 404
    finally:
        server.stop()


def test_a_clip_is_planned_shot_by_shot_and_its_job_says_how(live: Live, clip: Path) -> None:
    answer = live.client.post("/restore/video?task=auto", content=clip.read_bytes(), headers={"content-type": "video/mp4"})
    assert (answer.status_code, answer.json()["model"]) == (202, "")
    done = ended(live.client, answer.json())
    assert done["status"] == "succeeded"
    [plan] = done["clip"]["plan"]
    assert plan["frame"] == 0
    assert done["model"] == ", ".join(plan["models"])


def test_several_models_are_named_by_the_job(live: Live, clip: Path) -> None:
    query = "/restore/video?task=keeper,lowlight&brightness=1"
    answer = live.client.post(query, content=clip.read_bytes(), headers={"content-type": "video/mp4"})
    assert answer.json()["model"] == "keeper, lowlight"
    done = ended(live.client, answer.json())
    assert (done["status"], done["clip"]["plan"]) == ("succeeded", [{"frame": 0, "models": ["keeper", "lowlight"]}])
    assert live.client.get(done["links"]["result"]).headers["x-model"] == "keeper, lowlight"
