"""Keys, quotas, and what may be done without them."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.cli.serve import serve
from service.errors import QuotaSpent, TooLarge, Unauthorised
from service.keys import Bucket, Key, Keyring, parse_keys
from service.settings import Settings
from tests.service.conftest import file_of, pixels_of, running, settings_for


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = f"ann {digest('a')} 1.0\nbob {digest('b')} admin  # the operator\n"


def with_keys(tmp_path: Path, **more: Any) -> Settings:
    return settings_for(tmp_path, keys=KEYS, **more)


async def test_without_a_known_key_nothing_is_done(tmp_path: Path, png: bytes) -> None:
    async with running(with_keys(tmp_path)) as gateway:
        for headers in (
            {},
            {"X-API-Key": "c"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic YTo="},
            {"X-API-Key": "\xff"},
        ):
            sent = {name: value.encode("latin-1") for name, value in headers.items()}
            refused = await gateway.client.post("/restore", content=png, headers=sent)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await gateway.client.get("/models")).status_code == 401
        assert (await gateway.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer a"}, {"X-API-Key": "a"}])
async def test_a_key_opens_and_its_quota_is_shown(tmp_path: Path, png: bytes, headers: dict[str, str]) -> None:
    async with running(with_keys(tmp_path)) as gateway:
        answer = await gateway.client.post("/restore", content=png, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"megapixel-steps";q=1;w=60'
        assert answer.headers["ratelimit"].startswith('"megapixel-steps";r=1.00;t=0')


async def test_a_spent_quota_is_429_with_the_time_to_wait_and_others_go_on(tmp_path: Path) -> None:
    picture = file_of(pixels_of(400, 400))
    async with running(with_keys(tmp_path)) as gateway:
        first = await gateway.client.post("/restore?task=keeper&steps=4", content=picture, headers={"X-API-Key": "a"})
        second = await gateway.client.post("/restore?task=keeper&steps=4&seed=1", content=picture, headers={"X-API-Key": "a"})
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.json()["type"] == "urn:rddm:problem:quota-spent"
        assert 1 <= int(second.headers["retry-after"]) <= 60
        assert float(second.headers["ratelimit"].split("r=")[1].split(";")[0]) < 0.7
        other = await gateway.client.post("/restore?task=keeper&steps=4", content=picture, headers={"X-API-Key": "b"})
        assert other.status_code == 200


async def test_work_that_fails_costs_nothing(tmp_path: Path, png: bytes) -> None:
    async with running(with_keys(tmp_path)) as gateway:
        gateway.engine.fault = RuntimeError("the engine broke")
        failed = await gateway.client.post("/restore", content=png, headers={"X-API-Key": "a"})
        assert failed.status_code == 500
        assert gateway.state.keyring.named("r", "ann").quota.left() == pytest.approx(1.0)


async def test_results_and_jobs_belong_to_their_key(tmp_path: Path, png: bytes) -> None:
    async with running(with_keys(tmp_path)) as gateway:
        ann, bob = {"X-API-Key": "a"}, {"X-API-Key": "b"}
        made = await gateway.client.post("/restore", content=png, headers=ann)
        place = made.headers["content-location"]
        assert (await gateway.client.get(place, headers=ann)).content == made.content
        assert (await gateway.client.get(place, headers=bob)).status_code == 404
        job = (await gateway.client.post("/restore", content=png, headers=ann | {"Prefer": "respond-async"})).json()
        assert (await gateway.client.get(f"/jobs/{job['id']}", headers=bob)).status_code == 404
        assert (await gateway.client.delete(f"/jobs/{job['id']}", headers=bob)).status_code == 404
        assert (await gateway.client.get("/jobs", headers=bob)).json() == {"jobs": []}


async def test_a_result_is_not_sent_again_to_whom_has_it(tmp_path: Path, png: bytes) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        made = await gateway.client.post("/restore", content=png)
        again = await gateway.client.get(made.headers["content-location"], headers={"If-None-Match": made.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        changed = await gateway.client.get(made.headers["content-location"], headers={"If-None-Match": '"other"'})
        assert changed.headers["x-steps"] == "2"


async def test_only_an_admin_key_administers(tmp_path: Path) -> None:
    async with running(with_keys(tmp_path)) as gateway:
        path = "/admin/models/keeper/unload"
        assert (await gateway.client.post(path, headers={"X-API-Key": "a"})).status_code == 403
        assert (await gateway.client.post(path, headers={"X-API-Key": "b"})).json()["loaded"] is False
        assert (await gateway.client.post(path, headers={"X-API-Key": "b"})).status_code == 404
        loaded = await gateway.client.post("/admin/models/keeper/load", headers={"X-API-Key": "b"})
        assert loaded.json()["version"] == 1


async def test_without_keys_only_this_machine_administers(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        far = httpx2.ASGITransport(gateway.app, client=("203.0.113.5", 40000))
        async with httpx2.AsyncClient(transport=far, base_url="http://localhost") as stranger:
            assert (await stranger.post("/admin/models/keeper/reload")).status_code == 403
            assert (await stranger.get("/models")).status_code == 200
        rebound = await gateway.client.post("/admin/models/keeper/reload", headers={"Host": "evil.example"})
        assert rebound.status_code == 403
        reloaded = await gateway.client.post("/admin/models/keeper/reload")
        assert reloaded.json()["version"] == 2


@pytest.mark.parametrize(
    "text", ["ann", f"ann {digest('a')} many", "ann abc", f"an/n {digest('a')}", f"ann {digest('a')} -1", f"ann {digest('a')} 1 2"]
)
def test_a_wrong_line_of_keys_is_named_by_its_number_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="line 2") as wrong:
        parse_keys(f"# keys\n{text}")
    assert digest("a") not in str(wrong.value)


def test_a_bucket_refills_evenly_and_never_over_its_rate() -> None:
    clock = [0.0]
    bucket = Bucket(60.0, lambda: clock[0])
    bucket.spend(60)
    with pytest.raises(QuotaSpent) as spent:
        bucket.spend(10)
    assert spent.value.retry_after == pytest.approx(10)
    clock[0] = 10
    bucket.spend(10)
    clock[0] = 1000
    assert bucket.left() == 60


def test_what_a_bucket_can_never_hold_is_not_to_be_tried_again() -> None:
    bucket = Bucket(2.0)
    with pytest.raises(TooLarge, match=r"costs 5\.00 megapixel-steps; this key may spend at most 2 a minute"):
        bucket.spend(5)
    assert bucket.left() == 2


def test_a_keyring_knows_digests_only() -> None:
    keyring = Keyring([Key("ann", digest("a"))])
    assert keyring.context("r", "a", "10.0.0.1", loopback=False).caller == "ann"
    with pytest.raises(Unauthorised):
        keyring.context("r", digest("a"), "10.0.0.1", loopback=True)


def test_a_public_address_without_keys_is_refused(capsys: Any) -> None:
    assert serve(["--host", "0.0.0.0"]) == 2
    assert "--keys-file" in capsys.readouterr().err


async def test_cors_is_closed_unless_origins_are_named(tmp_path: Path, png: bytes) -> None:
    origin = {"Origin": "https://app.example"}
    async with running(settings_for(tmp_path)) as gateway:
        assert "access-control-allow-origin" not in (await gateway.client.post("/restore", content=png, headers=origin)).headers
    async with running(settings_for(tmp_path, cors_origins="https://app.example, https://b.example")) as gateway:
        answer = await gateway.client.post("/restore", content=png, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert {"X-Seed", "Location", "RateLimit-Policy"} <= set(answer.headers["access-control-expose-headers"].split(", "))
