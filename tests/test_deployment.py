"""The compose file and the Dockerfiles are read by the tools that would run them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.settings import Settings

PROFILES = ["cpu", "gpu", "triton", "monitoring", "training"]
COMPOSE = "docker-compose"


def config(root: Path, *profiles: str) -> dict:
    if shutil.which(COMPOSE) is None:
        pytest.skip("docker-compose is not installed (Debian package docker-compose)")
    flags = [flag for profile in profiles for flag in ("--profile", profile)]
    done = subprocess.run([COMPOSE, *flags, "config"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_accepts_every_profile(root: Path, profile: str) -> None:
    assert config(root, profile)["services"]


def test_every_service_is_confined(root: Path) -> None:
    for name, service in config(root, *PROFILES)["services"].items():
        assert service.get("read_only"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["user"] not in {"", "0", "root"}, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_only_loopback_is_published_and_nothing_of_triton(root: Path) -> None:
    for name, service in config(root, *PROFILES)["services"].items():
        ports = [str(port) for port in service.get("ports", [])]
        assert all(port.startswith("127.0.0.1:") for port in ports), (name, ports)
        assert not (name.startswith("triton") and ports), name


def test_a_stopping_gateway_is_given_longer_than_its_longest_request(root: Path) -> None:
    services = config(root, *PROFILES)["services"]
    gateways = [service for name, service in services.items() if name.startswith("gateway")]
    assert gateways
    for service in gateways:
        longest = float(service["environment"]["RDDM_REQUEST_TIMEOUT_SECONDS"])
        grace = service["stop_grace_period"].removesuffix("s")
        minutes, _, seconds = grace.rpartition("m")
        assert 60 * float(minutes or 0) + float(seconds or 0) > longest


def test_every_named_volume_lies_over_a_folder_of_the_images_user(root: Path) -> None:
    composed = yaml.safe_load(root.joinpath("docker-compose.yml").read_text("utf-8"))
    services = composed["services"].values()
    built = {service["image"]: service["build"]["dockerfile"] for service in services if "build" in service}
    checked = set()
    for service in services:
        mounts = [volume.split(":")[:2] for volume in service.get("volumes", []) if service["image"] in built]
        for target in (target for name, target in mounts if name in composed["volumes"]):
            last_stage = root.joinpath(built[service["image"]]).read_text("utf-8").rpartition("\nFROM ")[2]
            made = last_stage.partition("\nUSER ")[0]
            assert re.search(rf"mkdir (-p )?{target}\b", made), (service["image"], target)
            assert f"chown {service['user']} {target}" in made, (service["image"], target)
            checked.add(target)
    assert checked == {"/state", "/plans"}


@pytest.mark.parametrize(
    "dockerfile", sorted(path.name for path in Path(__file__).parent.parent.joinpath("docker").glob("*.Dockerfile"))
)
def test_dockerfiles_pass_the_linter(root: Path, dockerfile: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, root / "docker" / dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_public_gateway_needs_a_file_of_keys(root: Path) -> None:
    command = [COMPOSE, "-f", "docker-compose.yml", "-f", "docker/public.yml", "--profile", "cpu", "config"]
    if shutil.which(COMPOSE) is None:
        pytest.skip("docker-compose is not installed (Debian package docker-compose)")
    without = subprocess.run(command, cwd=root, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "KEYS_FILE" in without.stderr
    with_keys = subprocess.run(
        command, cwd=root, env={"PATH": "/usr/bin:/bin", "KEYS_FILE": "/keys"}, capture_output=True, text=True, check=True
    )
    assert yaml.safe_load(root.joinpath("docker/public.yml").read_text("utf-8"))["x-public"]["secrets"] == ["keys"]
    environment = yaml.safe_load(with_keys.stdout)["services"]["gateway"]["environment"]
    assert environment["RDDM_OPEN"] == "false"
    assert environment["RDDM_KEYS_FILE"] == "/run/secrets/keys"


def test_the_settings_know_every_variable_that_compose_sets(root: Path) -> None:

    known = {f"RDDM_{name.upper()}" for name in Settings.model_fields}
    for name, service in config(root, *PROFILES)["services"].items():
        variables = {variable for variable in service.get("environment", {}) if variable.startswith("RDDM_")}
        assert variables <= known, name
