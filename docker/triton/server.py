"""A real tritonserver from the wheel `nvidia-pytriton`, as a plain process: no container engine, no root once libpython is there.

The wheel needs numpy < 2, so it lives in an environment of its own. Of the wheel only the server and its Python backend are used;
the `onnxruntime` backend beside this file runs the models.
"""

import contextlib
import ctypes.util
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT_ENVIRONMENT = HERE.parent.parent / ".venv-triton"
REQUIREMENTS = ("nvidia-pytriton==0.7.0", "numpy<2", "onnxruntime==1.32.0")
TRIES = 5
# as tritonserver says it: another process took a port; the Python backend lost a mutex, which happens on a very busy machine
PASSING = ("already in use", "boost::interprocess::lock_exception")
READY_SECONDS = 180  # on a machine that has other things to do; seconds on one that has not
SHARED_MEMORY = Path("/dev/shm")
FOLLOWED = "TRITONSERVER_ENVIRONMENT"  # where it lies, if not beside the checkout; RDDM_ is for settings of the gateway


class NotInstallable(RuntimeError):
    """The server cannot be installed here; the message says what is missing."""


def environment() -> Path:
    """The folder of the server's Python environment."""
    return Path(os.environ.get(FOLLOWED, DEFAULT_ENVIRONMENT))


def check_libpython() -> None:
    """The Python backend links libpython, which Debian keeps in a package of its own. Raises NotInstallable."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if ctypes.util.find_library(f"python{version}") is None:
        raise NotInstallable(f"libpython{version}.so is missing (Debian package libpython{version})")


def install(folder: Path) -> Path:
    """Make the environment, or use the one that is there; returns its site-packages. Raises NotInstallable.

    Of several processes that ask at once, one makes it and the others wait.
    """
    check_libpython()
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (folder / ".installed").is_file():
            make_environment(folder)
    return packages


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The block runs in one process at a time; a process that dies lets the lock go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_environment(folder: Path) -> None:
    """Install the server into a new environment; what a killed process left there is replaced. Raises NotInstallable."""
    venv.create(folder, with_pip=True, clear=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstallable(f"pip could not install {' '.join(REQUIREMENTS)}: {done.stderr.strip().splitlines()[-1]}")
    (folder / ".installed").touch()


def copy_backends(packages: Path, folder: Path) -> None:
    """The backend directory: the wheel's Python backend, and our own. Copies, because the server follows no link out of it."""
    server, python = packages / "pytriton" / "tritonserver", folder / "python"
    python.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(server / "backends" / "python" / name, python)
    stub = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / "triton_python_backend_stub"
    shutil.copy2(stub, python)
    shutil.copytree(HERE / "backends" / "onnxruntime", folder / "onnxruntime", ignore=shutil.ignore_patterns("__pycache__"))


def free_ports(count: int) -> list[int]:
    """Ports on the loopback interface that are free now. Another process may take one before it is bound: see `started`."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Server:
    """One tritonserver process, on the loopback interface only. It may be started, stopped, killed and started again."""

    repository: Path
    packages: Path
    folder: Path
    http: int
    grpc: int
    metrics: int
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """host:port of gRPC."""
        return f"127.0.0.1:{self.grpc}"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.folder / "tritonserver.log"

    def command(self) -> list[str]:
        """The command line."""
        server = self.packages / "pytriton" / "tritonserver"
        hosts = [f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")]
        ports = [f"--{name}-port={getattr(self, name)}" for name in ("http", "grpc", "metrics")]
        return [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self.folder / 'backends'}",
            f"--cache-directory={server / 'caches'}",
            # gateways load and unload models; all are loaded at the start, and one that is broken does not stop the others
            "--model-control-mode=explicit",
            "--load-model=*",
            "--exit-on-error=false",
            # a configuration that `rddm export` wrote is complete; completing it would open each model once more at each load
            "--disable-auto-complete-config",
            "--exit-timeout-secs=10",
            f"--backend-config=python,stub-timeout-seconds={READY_SECONDS}",
            f"--backend-config=python,shm-region-prefix-name={self.folder.name}",
            *hosts,
            *ports,
            *self.options,
        ]

    def start(self) -> None:
        """Start the process and wait until it answers. Raises RuntimeError with the end of its log."""
        self.launch()
        end = time.monotonic() + READY_SECONDS
        while not self.is_live():
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"tritonserver did not start:\n{said}")
            time.sleep(0.1)

    def launch(self) -> None:
        """Start the process and do not wait."""
        if not (self.folder / "backends").exists():
            copy_backends(self.packages, self.folder / "backends")
        bin_folder = self.packages.parents[2] / "bin"  # the stub finds its Python's prefix by the PATH
        libraries = self.packages / "nvidia_pytriton.libs"  # which the copied backend would look for beside itself
        variables = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(libraries)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=variables, start_new_session=True)

    def is_live(self) -> bool:
        """Whether the server has loaded what it can and answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/live", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left after it should have ended."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the server and the processes of its Python backend."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        for left in SHARED_MEMORY.glob(f"{self.folder.name}*"):  # of its Python backend; a killed server leaves it behind
            left.unlink(missing_ok=True)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and the processes of its backend. Raises RuntimeError where it does not run."""
        if self.process is None:
            raise RuntimeError("the server does not run")
        os.killpg(self.process.pid, number)

    def stubs(self) -> list[int]:
        """Process ids of the Python backend's processes."""
        if self.process is None:
            return []
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return [pid for pid in pids if "triton_python_backend_stub" in Path(f"/proc/{pid}/cmdline").read_text()]


@contextlib.contextmanager
def running(repository: Path, *options: str, ports: Sequence[int] = ()) -> Iterator[Server]:
    """A server on a repository until the block ends. ports: http, grpc, metrics; default any that are free."""
    packages = install(environment())
    folder = Path(tempfile.mkdtemp(prefix="tritonserver-"))
    try:
        server = started(
            lambda free: Server(repository.resolve(), packages, folder, *(ports or free), options), 1 if ports else TRIES
        )
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def started(make: Callable[[Sequence[int]], Server], tries: int) -> Server:
    """A server on ports that are free, which it was made with. Raises RuntimeError with the end of its log.

    tritonserver refuses port 0 for two of its services, and names no port that it got. So ports are chosen before it binds them;
    where another process has taken one meanwhile, or the start failed for another passing reason, they are chosen again.
    """
    while True:
        server, tries = make(free_ports(3)), tries - 1
        try:
            server.start()
            return server
        except RuntimeError as failed:
            if not tries or not any(reason in str(failed) for reason in PASSING):
                raise
