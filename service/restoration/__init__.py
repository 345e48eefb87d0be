"""One restoration or generation, from bytes to bytes; importable without a web framework.

with open_restorer() as restorer:
    body = restorer.restore(data, RestoreParameters(task="derain"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.restoration.parameters import GenerateParameters, RestoreParameters
    from service.restoration.restorer import Restorer, open_restorer
    from service.restoration.service import RestorationService

__all__ = ["GenerateParameters", "RestorationService", "RestoreParameters", "Restorer", "open_restorer"]

HOMES = {
    "parameters": ("GenerateParameters", "RestoreParameters"),
    "restorer": ("Restorer", "open_restorer"),
    "service": ("RestorationService",),
}


def __getattr__(name: str) -> Any:
    """A name of the package, from the module that defines it: the parameters alone need neither engines nor a scheduler."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
