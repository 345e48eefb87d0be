"""Restore a picture with the Python client, and watch the steps.

    python examples/restore.py dark.jpg light.jpg [--server http://127.0.0.1:8000] [--task lowlight] [--steps 3]

The client needs httpx2 only. Errors carry the server's own words.
"""

import argparse
import os
import sys
from pathlib import Path

from service.client import Client, ClientError, Step


def show(step: Step) -> None:
    print(f"step {step.step} of {step.steps} after {step.elapsed_ms / 1000:.2f} s, a preview of {step.width} x {step.height}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Restore a picture with the Python client.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--task", default=None, help="a model's name or task; the server's default if absent")
    parser.add_argument("--steps", type=int, default=None, help="the model's default if absent")
    arguments = parser.parse_args()
    options = {name: value for name in ("task", "steps") if (value := getattr(arguments, name)) is not None}
    try:
        with Client(arguments.server, api_key=os.environ.get("RDDM_API_KEY")) as client:
            restored = client.restore(arguments.picture, on_step=show, **options)
        arguments.out.write_bytes(restored.image)
    except (ClientError, OSError, ValueError) as error:  # the server's or the network's; a file's; an address's or a key's
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.out}: {restored.model}, {restored.steps} steps, {sum(restored.timings.values()):.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
