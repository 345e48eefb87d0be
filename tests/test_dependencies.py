"""constraints.txt is a lock for every Python and system that is supported: one version of each package, which the project takes."""

import tomllib
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}


def described(root: Path) -> dict:
    return tomllib.loads(root.joinpath("pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize(("python", "system"), list(product(PYTHONS, SYSTEMS)))
def test_every_requirement_has_one_version_that_it_takes(root: Path, python: str, system: str) -> None:
    platform, name = SYSTEMS[system]
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": system, "platform_system": platform}
    where |= {"os_name": name, "platform_machine": "x86_64"}
    lines = [
        line
        for line in root.joinpath("constraints.txt").read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate(where)]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert len(versions) == len(pins), "a package has two versions"
    project = described(root)
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(line for extra in extras for line in extras[extra])]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(where):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), line


def test_the_pythons_of_the_lock_are_those_that_are_named(root: Path) -> None:
    named = [
        one.rpartition(" ")[2] for one in described(root)["classifiers"] if one.startswith("Programming Language :: Python :: 3.")
    ]
    assert named == PYTHONS
