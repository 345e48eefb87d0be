"""A client of the gateway that needs httpx2 only: `Client` blocks, `AsyncClient` awaits, and both run the same operations.

    with Client("http://127.0.0.1:8000") as client:
        restored = client.restore(Path("dark.jpg"), on_step=lambda step: print(step.step, "of", step.steps))
        Path("light.jpg").write_bytes(restored.image)

errors      what goes wrong
models      what is sent and what comes back
operations  generators that know neither network nor clock
drivers     what runs them, blocking or awaiting

Each name is imported when it is first used: the command line catches ClientError and most often asks no gateway, and httpx2 takes
a tenth of a second to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clients import AsyncClient, Client
    from .errors import ClientError, Locked, Overloaded, Problem, Refused, Unexpected, Unreachable
    from .models import Analysed, Generated, Job, Loading, ModelInfo, Restored, Step

__all__ = [
    "Analysed",
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

HOMES = {
    "models": ("Analysed", "Generated", "Job", "Loading", "ModelInfo", "Restored", "Step"),
    "clients": ("AsyncClient", "Client"),
    "errors": ("ClientError", "Locked", "Overloaded", "Problem", "Refused", "Unexpected", "Unreachable"),
}


def __getattr__(name: str) -> Any:
    """A name of the package, from the module that defines it."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
