"""One restoration or generation, from bytes to bytes; importable without a web framework.

with open_restorer() as restorer:
    body = restorer.restore(data, RestoreParameters(task="derain"))
"""

from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.restoration.restorer import Restorer, open_restorer
from service.restoration.service import RestorationService

__all__ = ["GenerateParameters", "RestorationService", "RestoreParameters", "Restorer", "open_restorer"]
