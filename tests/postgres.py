"""A real PostgreSQL server of a test run's own: Debian's programs, a folder and a socket of its own, no network."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLACES = "/usr/lib/postgresql/*/bin"
USER = "nobody"  # the server refuses to run as root


def programs() -> Path | None:
    """The folder of the newest server that is installed."""
    candidates = sorted(Path("/").glob(f"{PLACES.removeprefix('/')}/initdb"), key=lambda path: int(path.parts[4]))
    return candidates[-1].parent if candidates else None


class Postgres:
    """A server that can be stopped and started again. url: with `host` for the folder of its socket."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin, self._folder = bin_folder, folder
        self.url = f"postgresql:///postgres?host={folder}&user=rddm"

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def make(self) -> None:
        self._run(
            "initdb", "-D", f"{self._folder}/data", "-U", "rddm", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"
        )

    def _run(self, program: str, *arguments: str) -> None:
        user = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, user=user, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Skips where no server is installed."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rddm-pg-", dir="/tmp"))  # a socket's path must be short
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    server = Postgres(bin_folder, folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        subprocess.run(
            [bin_folder / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"],
            user=pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None,
            cwd="/",
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder, ignore_errors=True)
