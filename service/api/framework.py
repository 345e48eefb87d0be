"""FastAPI, imported without two things that no answer needs: a sixth of what importing the API takes."""

import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict


def import_fastapi() -> None:
    """Its models of an OpenAPI document are built when a document is asked for, and types are not compared with pydantic.v1's.

    To be called before a module that imports FastAPI is imported: what was imported before stays as it is.
    """
    usual, BaseModel.model_config = BaseModel.model_config, ConfigDict(defer_build=True)
    try:
        utils: Any = importlib.import_module("fastapi.utils")
    finally:
        BaseModel.model_config = usual
    utils.annotation_is_pydantic_v1 = lambda _: False  # it imports pydantic.v1, of which nothing here has types, for each field
