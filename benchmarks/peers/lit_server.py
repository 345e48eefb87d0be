"""LitServe with its batching and one worker per core: `python -m benchmarks.peers.lit_server REPOSITORY MODEL [LARGEST]`.

Requests of different steps or sizes cannot share a call there: a batch is run in groups of equal ones.
"""

import base64
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import litserve
from fastapi import Request

from benchmarks.loop import CORES, Loop
from benchmarks.peers import listening
from rddm.image import decode

RestoreRequest = tuple[bytes, int, int]
LARGEST = 16
WAIT = 0.005


class Restorer(litserve.LitAPI):
    """JSON in (`image` in base64, `steps`, perhaps `seed`), JSON out."""

    def __init__(self, folder: str, name: str, largest: int) -> None:
        super().__init__(max_batch_size=largest, batch_timeout=WAIT)
        self._folder, self._name, self._largest = folder, name, largest

    def setup(self, device: str) -> None:  # noqa: ARG002 (the name is LitServe's)
        """In each worker."""
        self.loop = Loop(Path(self._folder), self._name)

    def decode_request(self, request: Request, **_: Any) -> RestoreRequest:  # type: ignore[override]
        """One request; LitServe wants this annotation and gives the parsed body."""
        body: Any = request
        return base64.b64decode(body["image"]), int(body["steps"]), int(body.get("seed", 0))

    def batch(self, inputs: list[RestoreRequest]) -> list[RestoreRequest]:
        """Nothing to stack: sizes may differ."""
        return inputs

    def predict(self, inputs: Any, **_: Any) -> Any:
        """The batch, in groups of one size and number of steps."""
        requests = inputs if isinstance(inputs, list) else [inputs]
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, (body, steps, _seed) in enumerate(requests):
            groups[(*decode(body).shape, steps)].append(index)
        done: dict[int, bytes] = {}
        for (*_, steps), members in groups.items():
            bodies = self.loop.restore([requests[k][0] for k in members], steps, [requests[k][2] for k in members])
            done |= dict(zip(members, bodies, strict=True))
        answers = [done[k] for k in range(len(requests))]
        return answers if isinstance(inputs, list) else answers[0]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """One answer each."""
        return output

    def encode_response(self, output: bytes, **_: Any) -> dict[str, str]:
        """One answer."""
        return {"image": base64.b64encode(output).decode()}


if __name__ == "__main__":
    folder, name, *largest = sys.argv[1:]
    api = Restorer(folder, name, int(largest[0]) if largest else LARGEST)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=CORES, timeout=600)
    listener = listening()
    server.run(fd=listener.fileno(), generate_client_file=False, log_level="warning")  # LitServe takes no port 0
