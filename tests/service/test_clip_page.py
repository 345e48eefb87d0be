"""The page for clips in a real Chromium: a clip is dropped, frames are shown as they come, then a slider lies over both clips."""

import base64
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.service.on_port import Live, live
from tests.service.test_page import Page, driver, gateway, settings_for

__all__ = ["driver", "gateway"]
pytest.importorskip("av")
pytestmark = pytest.mark.browser

LONG = 120  # seconds that a clip may take on a busy machine
CLIP = Path(__file__).parents[2] / "examples" / "clips" / "dark.mp4"
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0)), carried = new DataTransfer();
carried.items.add(new File([bytes], "walk.mp4", { type: "video/mp4" }));
document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
"""
# Every address of frames that the page shows while the clip is in work, and what it says beside it.
WATCH = """
window.heard = [];
new MutationObserver(() => window.heard.push([document.querySelector("#said").textContent, progress.value / progress.max,
  document.querySelector("#before-frame").src.slice(0, 11), document.querySelector("#after-frame").src.slice(0, 11)]))
  .observe(document.querySelector("#after-frame"), { attributes: true, attributeFilter: ["src"] });
"""
STATE = """
const [before, after] = [document.querySelector("#before"), document.querySelector("#after")];
return { before: before.currentTime, after: after.currentTime, paused: before.paused || after.paused, seconds: after.duration,
  shown: getComputedStyle(document.querySelector("#after-layer")).clipPath, width: after.videoWidth };
"""


@pytest.fixture
def page(driver: webdriver.Chrome, gateway: Live) -> Iterator[Page]:
    gateway.engine.seconds = 0.05
    page = Page(driver, gateway.url + "/static/clip.html")
    page.size(1280, 860)
    page.prefer(prefers_color_scheme="light")
    yield page.open()
    gateway.engine.seconds = 0.0
    assert page.complaints() == []


def dropped(page: Page) -> None:
    page.until(lambda: page.all("#task option"))
    page.run(DROP, base64.b64encode(CLIP.read_bytes()).decode())
    page.until(lambda: page.text("#said") == "walk.mp4 is open.")


def restored(page: Page) -> None:
    dropped(page)
    page.run(WATCH)
    page.click("#go")
    WebDriverWait(page.driver, LONG, 0.2).until(lambda _: not page.text("#said").startswith(("Sending", "Frame", "walk.mp4 is")))
    assert page.text("#said").startswith("Done: 36 frames")


def test_a_dropped_clip_is_restored_and_plays_beneath_a_slider(page: Page) -> None:
    restored(page)
    heard = page.run("return window.heard")
    assert heard
    assert all(said.startswith("Frame ") and said.endswith(" of 36") for said, *_ in heard)
    assert all(0 < share <= 1 and {before, after} == {"data:image/"} for _, share, before, after in heard)
    playing = page.until(lambda: (state := page.run(STATE))["after"] > 0.2 and state)
    assert not playing["paused"]
    assert (playing["width"], playing["seconds"]) == (384, 1.5)
    assert abs(playing["after"] - playing["before"]) < 0.25
    assert playing["shown"] == "inset(0px 0px 0px 50%)"
    page.find("#split").send_keys(Keys.HOME)
    assert page.run(STATE)["shown"] == "inset(0px 0px 0px 0%)"
    page.click("#play")
    assert page.run("return before.paused && after.paused")


def test_the_result_is_read_from_its_own_address(page: Page) -> None:
    restored(page)
    addresses = {page.find("#after").get_attribute("src"), page.find("#download").get_attribute("href")}
    (address,) = addresses
    assert address.startswith(page.url.replace("/static/clip.html", "/jobs/"))
    assert page.find("#download").get_attribute("download") == "walk-restored.mp4"


def test_behind_a_key_the_result_plays_from_an_address_that_is_signed(driver: webdriver.Chrome, tmp_path: Path) -> None:
    keys = f"anna {sha256(b'correct-horse').hexdigest()}\n"
    with live(settings_for(tmp_path, keys=keys, clips_folder=tmp_path / "clips")) as locked:
        page = Page(driver, locked.url + "/static/clip.html")
        driver.get(page.url)
        page.until(lambda: page.find("#key-dialog").is_displayed())
        page.find("#key").send_keys("correct-horse")
        page.press(Keys.ENTER)
        restored(page)
        address = page.find("#after").get_attribute("src")
        assert "/result?until=" in address
        assert "correct-horse" not in address
        assert page.until(lambda: page.run(STATE)["after"] > 0.2)


def test_cancel_ends_the_job(page: Page, gateway: Live) -> None:
    gateway.engine.seconds = 0.1
    dropped(page)
    page.click("#go")
    page.until(lambda: page.text("#said").startswith("Frame "))
    page.click("#cancel")
    page.until(lambda: page.find("#go").is_displayed() and page.find("#go").is_enabled())
    assert gateway.until_idle()


def test_what_is_no_clip_is_named_in_words(page: Page, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("this is no clip at all " * 30)
    page.find("#file").send_keys(str(notes))
    page.click("#go")
    page.until(lambda: "expected MP4, MOV" in page.text("#said"))
    assert page.find("#go").is_enabled()
