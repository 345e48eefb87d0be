"""A client of the gateway that needs httpx only: `Client` blocks, `AsyncClient` awaits, and both run the same operations.

    with Client("http://127.0.0.1:8000") as client:
        restored = client.restore(Path("dark.jpg"), on_step=lambda step: print(step.step, "of", step.steps))
        Path("light.jpg").write_bytes(restored.image)

errors      what goes wrong
answers     what is sent and what comes back
operations  generators that know neither network nor clock
drivers     what runs them, blocking or awaiting
"""

from service.client.answers import Generated, Job, Loading, ModelInfo, Restored, Step
from service.client.clients import AsyncClient, Client
from service.client.errors import ClientError, Locked, Overloaded, Problem, Refused, Unexpected, Unreachable

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Generated",
    "Job",
    "Loading",
    "Locked",
    "ModelInfo",
    "Overloaded",
    "Problem",
    "Refused",
    "Restored",
    "Step",
    "Unexpected",
    "Unreachable",
]
