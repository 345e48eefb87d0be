"""Checkouts of this project that are compared, each run by the interpreter of an environment of its own."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.engines.repository import names_in

HERE = Path(__file__).resolve().parent.parent
ENVIRONMENTS = (".venv", "venv")
ADDRESS = re.compile(r"answers at (http://\S+?)/?\s")


@dataclass(frozen=True)
class Build:
    """folder: the checkout, in which its commands are run, so that its code comes before an installed one.

    repository: models of its own to be measured with, if not all that lie in the checkout.
    """

    name: str
    folder: Path
    python: Path
    repository: Path | None = None

    def command(self, *verb: str) -> list[str]:
        """`rddm VERB ...` of this build."""
        return [str(self.python), "-m", "rddm", *verb]

    def models(self, folder: Path | None) -> Path:
        """The models that it is measured with: the given ones, else its own."""
        return folder or self.repository or self.folder / "model_repository"


def shared_models(builds: Sequence[Build]) -> list[str]:
    """What lies in every build's repository, by name."""
    return sorted(set.intersection(*(set(names_in(build.models(None))) for build in builds)))


def restricted(builds: Sequence[Build], names: Sequence[str], scratch: Path) -> list[Build]:
    """The builds with these of their models alone, linked to in folders that are made in `scratch`: like is opened beside like."""
    return [replace(build, repository=_linked(build, names, scratch / str(k))) for k, build in enumerate(builds)]


def _linked(build: Build, names: Sequence[str], folder: Path) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(build.models(None).resolve() / name, target_is_directory=True)
    return folder


def this_build() -> Build:
    """What runs now."""
    return Build("gateway", HERE, Path(sys.executable))


def build_at(folder: Path, python: Path | None = None) -> Build:
    """The checkout in a folder. Raises ValueError where it is none, or where its environment is not there."""
    folder = folder.resolve()
    if not (folder / "rddm" / "__main__.py").is_file():
        raise ValueError(f"{folder} is no checkout of this project: it has no rddm/__main__.py")
    places = [python] if python is not None else [folder / name / "bin" / "python" for name in ENVIRONMENTS]
    for place in places:
        if place.is_file():
            return Build(f"gateway at {folder.name}", folder, place.absolute())
    raise ValueError(f"{folder} has no environment; expected one of {[str(place) for place in places]}, or --against-python FILE")


def address_of(process: "subprocess.Popen[str]") -> str:
    """The address that a gateway prints once it listens. Raises RuntimeError where it ends without one."""
    assert process.stdout is not None
    for line in process.stdout:
        if (match := ADDRESS.search(line)) is not None:
            return match.group(1)
    raise RuntimeError(f"{process.args} ended with status {process.wait()}")
