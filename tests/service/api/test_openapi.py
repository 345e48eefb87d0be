"""The OpenAPI document keeps its word: schemathesis sends what it allows and what it forbids."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from service.api.openapi import example_picture
from service.pictures.decode import decode
from service.pictures.picture import Bounds
from tests.service.conftest import settings_for
from tests.service.live import Live, live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    limits = {"max_jobs": 1000, "max_jobs_per_caller": 1000, "queue_megapixel_steps": 1e6}
    with live(settings_for(tmp_path_factory.mktemp("jobs"), port=0, **limits)) as server:
        yield server


# 504 answers a deadline that nobody could meet; that bytes are a picture, and that a model takes a mask, no schema can say.
CONFIGURATION = """
[checks]
positive_data_acceptance.enabled = false
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""


def test_every_operation_answers_as_it_is_described(server: Live, tmp_path: Path) -> None:
    tmp_path.joinpath("schemathesis.toml").write_text(CONFIGURATION)
    address = f"http://127.0.0.1:{server.port}/openapi.json"
    options = ["--max-examples", "10", "--seed", "1", "--request-timeout", "20"]
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [program, "run", address, *options, "--no-color"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"Tested: (\d+)", done.stdout).group(1) == re.search(r"Selected: (\d+)", done.stdout).group(1)
    assert not any(server.idle().values())


def test_the_example_picture_is_one() -> None:
    picture = decode(base64.b64decode(example_picture()), Bounds(1000, 100))
    assert picture.pixels.shape == (16, 16, 3)
    assert Image.fromarray(picture.pixels).getextrema()[0][1] < 64


def test_every_operation_has_words_and_every_error_is_a_problem(server: Live) -> None:
    document = server.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation.get("description"), (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert "application/problem+json" in answer["content"], (method, path, status)
