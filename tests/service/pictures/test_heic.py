"""Real HEIC files, made by heif-enc (libheif 1.15, x265) of the four quadrants: the service only reads them."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from tests.service.conftest import RunningApp, running, settings_for
from tests.service.pictures.test_cases import COLOURS, P3_SHOWN, assert_colours

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEIC = Path(__file__).parents[2] / "fixtures" / "heic"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningApp]:
    async with running(settings_for(tmp_path_factory.mktemp("jobs"))) as gateway:
        yield gateway


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("srgb", COLOURS),
        ("ten-bits", COLOURS),
        ("p3-profile", P3_SHOWN),
        ("turned", COLOURS),  # EXIF says 6, and no irot: a HEIC file is turned by its boxes alone
    ],
)
async def test_a_phones_picture_shows_its_colours_in_every_format(
    gateway: RunningApp, name: str, colours: tuple[tuple[int, int, int], ...], kind: str
) -> None:
    sent = (HEIC / f"{name}.heic").read_bytes()
    answer = await gateway.client.post(f"/restore?task=keeper&format={kind}", content=sent)
    assert answer.status_code == 200, answer.text
    assert_colours(answer.content, colours, levels=5)


async def test_transparency_is_kept_and_the_answer_is_a_jpeg_unless_asked(gateway: RunningApp) -> None:
    sent = (HEIC / "alpha.heic").read_bytes()
    answer = await gateway.client.post("/restore?task=keeper&format=png", content=sent)
    alpha = np.asarray(Image.open(BytesIO(answer.content)))[..., 3]
    assert (abs(int(alpha[8, 8]) - 128) <= 4, int(alpha[60, 60]) >= 252) == (True, True)
    assert (await gateway.client.post("/restore?task=keeper", content=sent)).headers["content-type"] == "image/jpeg"
