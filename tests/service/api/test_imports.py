"""What importing the gateway leaves for later."""

import subprocess
import sys

PROGRAM = """
import sys
from pydantic import BaseModel
usual = BaseModel.model_config
from service.api.app import create_app
from service.settings import Settings
from fastapi.openapi.models import OpenAPI
app = create_app(Settings())
print("pydantic.v1" in sys.modules, OpenAPI.__pydantic_complete__, BaseModel.model_config == usual)
print(app.openapi()["openapi"], OpenAPI.__pydantic_complete__)
"""


def test_fastapi_builds_its_models_of_documents_when_one_is_asked_for() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False", "True", "3.1.0", "True"]
