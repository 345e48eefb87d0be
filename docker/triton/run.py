"""`make run-triton`: a real tritonserver from the wheel, and the gateway beside it; both end together."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from docker.triton.server import NotInstallable, environment, running

ROOT = Path(__file__).resolve().parent.parent.parent


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line; everything else goes to `rddm serve`."""
    p = argparse.ArgumentParser(prog="python -m docker.triton.run", description=__doc__)
    p.add_argument("--port", default="8000", help="of the gateway (default: %(default)s)")
    p.add_argument("--model-repository", type=Path, default=ROOT / "model_repository", help="(default: %(default)s)")
    return p


def main(argv: list[str]) -> int:
    """Returns the gateway's exit status, 1 where the server cannot be installed or started."""
    given, rest = parser().parse_known_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not environment().exists():
        print(f"installing tritonserver into {environment()}: 130 MB, about a minute", flush=True)
    try:
        with running(given.model_repository) as server:
            print(f"tritonserver answers gRPC on {server.url}; its log is {server.log}", flush=True)
            gateway = [sys.executable, "-m", "rddm", "serve", "--engine", "triton", "--triton-urls", server.url]
            with subprocess.Popen([*gateway, "--port", given.port, *rest]) as process:
                try:
                    return process.wait()
                except (KeyboardInterrupt, SystemExit):
                    process.terminate()
                    return process.wait()
    except (NotInstallable, RuntimeError) as error:
        print(f"run-triton: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
