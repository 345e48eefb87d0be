"""What importing the gateway leaves for later."""

import subprocess
import sys

PROGRAM = """
import sys
from pydantic import BaseModel
usual = BaseModel.model_config
from service.api.framework import import_fastapi
import_fastapi()
from service.api.app import create_app
from service.settings import Settings
from fastapi.openapi.models import OpenAPI
app = create_app(Settings())
print("pydantic.v1" in sys.modules, OpenAPI.__pydantic_complete__, BaseModel.model_config == usual)
print(app.openapi()["openapi"], OpenAPI.__pydantic_complete__)
"""
WITHOUT_PILLOW = """
import sys
import numpy as np
from rddm.image import enlarged
from service.api.app import create_app
from service.restoration.restorer import open_restorer
from service.settings import Settings
create_app(Settings())
enlarged(np.zeros((4, 4, 3), np.uint8), 1)
print("PIL" in sys.modules)
"""
WITHOUT_FASTAPI = """
import sys
from service.api.front import Front
from service.cli.serve import serve
from service.settings import Settings
Front(Settings())
print("fastapi" in sys.modules)
"""


def printed_by(program: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_a_gateway_does_without_pillow_until_a_picture_is_judged_or_enlarged() -> None:
    assert printed_by(WITHOUT_PILLOW) == ["False"]


def test_fastapi_builds_its_models_of_documents_when_one_is_asked_for() -> None:
    assert printed_by(PROGRAM) == ["False", "False", "True", "3.1.0", "True"]


def test_a_start_does_without_fastapi() -> None:
    assert printed_by(WITHOUT_FASTAPI) == ["False"]
