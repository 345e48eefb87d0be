"""The gateway over HTTP: application, middleware, bodies, negotiation, routes.

FastAPI is imported here, before any module of this room does, without two things that a start does not need: a sixth of what
importing the gateway takes.
"""

import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict


def import_fastapi() -> None:
    """Its models of an OpenAPI document are built when a document is asked for, and types are not compared with pydantic.v1's.

    What was imported before stays as it is.
    """
    usual, BaseModel.model_config = BaseModel.model_config, ConfigDict(defer_build=True)
    try:
        utils: Any = importlib.import_module("fastapi.utils")
    finally:
        BaseModel.model_config = usual
    utils.annotation_is_pydantic_v1 = lambda _: False  # it imports pydantic.v1, of which nothing here has types, for each field


import_fastapi()
