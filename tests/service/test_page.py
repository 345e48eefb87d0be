"""The web page in a real Chromium, against a gateway on a real port."""

import base64
import io
import itertools
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from service.api.app import PAGE
from service.client import Client
from service.errors import EngineUnavailable
from service.pictures.formats import FORMATS
from service.restoration.adjusting import adjusted, blended
from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.on_port import Live, live

pytestmark = pytest.mark.browser

PATIENCE = 30
TURNS = itertools.count(1)  # an address of its own for each time that the page is opened: another fragment alone opens nothing
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=SpareRendererForSitePerProcess,BackForwardCache",  # processes beside the page's
    "--lang=en",
)
# The page's policy forbids fetching blob: addresses, also to a test: what they stand for is remembered as they are made.
REMEMBER = """
const make = URL.createObjectURL;
window.blobs = new Map();
URL.createObjectURL = (blob) => { const url = make.call(URL, blob); window.blobs.set(url, blob); return url; };
"""
READ = """
const [url, done] = arguments, reader = new FileReader();
reader.onload = () => done(reader.result.split(",")[1]);
reader.readAsDataURL(window.blobs.get(url));
"""
# Contrast by WCAG 2.2 of every visible text with the colour that lies behind it.
CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const colour = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = (node) => { for (let n = node; n; n = n.parentElement) {
    const c = colour(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
const failures = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const exempt = node.closest(".away, .skip, .viewer, .over, .pill, :disabled, option");
  if (!own || exempt || !node.checkVisibility({ visibilityProperty: true })) continue;
  const [a, b] = [light(colour(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
  failures.push([(a + 0.05) / (b + 0.05), node.textContent.trim().slice(0, 40)]);
}
return failures.filter(([ratio]) => ratio < 4.5);
"""
UNNAMED = """
return [...document.querySelectorAll("button, a, input, select, [role=slider], [role=radio], [role=tab]")].filter((node) =>
  node.checkVisibility() && !node.closest(".away") && !(node.getAttribute("aria-label") || node.textContent.trim() ||
  node.labels?.length || node.getAttribute("aria-labelledby"))).map((node) => node.outerHTML);
"""


CHOOSE = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"


class Page:
    """A browser on the page, and what a person does with it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, fragment: str = "", task: str | None = "lowlight") -> "Page":
        """task: chosen in place of Automatic, which the page begins with; None leaves that."""
        self.driver.get(f"{self.url}?{next(TURNS)}{fragment}")
        self.until(lambda: self.find("#task").is_enabled() or not self.find("#restore .alert").get_property("hidden"))
        if task is not None and self.find("#task").get_property("value") == "auto":
            self.run(CHOOSE, self.find("#task"), task)
        return self

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.until(lambda: self.find(selector).is_enabled())
        self.find(selector).click()

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, true: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: true())

    def state(self, expected: str, room: str = "restore") -> None:
        self.until(lambda: self.find(f"#{room}").get_attribute("data-state") == expected)

    def pick(self, path: Path) -> None:
        self.find("#file").send_keys(str(path))
        self.until(lambda: self.text(".picked-name") == path.name and self.find("#go").is_enabled())

    def type(self, selector: str, value: str) -> None:
        self.run("arguments[0].closest('details')?.setAttribute('open', '')", self.find(selector))
        self.find(selector).clear()
        self.find(selector).send_keys(value)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def fetched(self, selector: str, attribute: str) -> bytes:
        """The bytes behind an element's blob: address."""
        self.driver.set_script_timeout(PATIENCE)
        return base64.b64decode(self.driver.execute_async_script(READ, self.find(selector).get_attribute(attribute)))

    def size(self, width: int, height: int) -> None:
        facts = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)

    def prefer(self, **features: str) -> None:
        media_features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media_features})

    def complaints(self) -> list[str]:
        """What the console says; answers of 4xx and 5xx are not the page's fault."""
        return [entry["message"] for entry in self.driver.get_log("browser") if "the server responded with" not in entry["message"]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser, steering = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and steering):
        pytest.skip("chromium or chromedriver is not installed: as root, apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(steering))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": REMEMBER})
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tmp_path_factory.mktemp("page"))) as running:
        yield running


@pytest.fixture
def closed(driver: webdriver.Chrome, gateway: Live) -> Iterator[Page]:
    """The page before it is opened."""
    gateway.engine.seconds, gateway.engine.fault = 0.0, None
    page = Page(driver, gateway.url + "/")
    page.size(1280, 860)
    page.prefer(prefers_color_scheme="light")
    yield page
    gateway.engine.seconds, gateway.engine.fault = 0.0, None
    page.run("localStorage.clear(); sessionStorage.clear()")
    assert page.complaints() == []


@pytest.fixture
def page(closed: Page) -> Page:
    return closed.open()


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    (tmp_path / "dark.png").write_bytes(file_of(pixels_of(60, 90)))
    return tmp_path / "dark.png"


def restored(page: Page, picture: Path) -> None:
    page.pick(picture)
    page.click("#go")
    page.state("done")


def facts(page: Page, room: str = "restore") -> dict[str, str]:
    names, values = (page.all(f"#{room} .facts {tag}") for tag in ("dt", "dd"))
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def test_one_click_restores_the_sample(page: Page) -> None:
    assert page.find("#go").is_enabled() is False
    page.click("#sample")
    page.state("done")
    assert page.text(".picked-name") == "still-life.jpg"
    assert facts(page)["Picture"].startswith("600 × 400")
    before = np.asarray(Image.open(PAGE / "sample-lowlight.jpg"), float)
    after = np.asarray(Image.open(io.BytesIO(page.fetched("#download", "href"))), float)
    assert after.shape == before.shape
    assert after.mean() > before.mean() + 40


def test_the_download_is_what_the_server_answers(page: Page, dark: Path) -> None:
    restored(page, dark)
    assert page.find("#download").get_attribute("download") == "dark-restored.png"
    pixels = np.asarray(Image.open(io.BytesIO(page.fetched("#download", "href"))), int)
    assert np.abs(pixels - np.asarray(Image.open(dark), int) - 64).max() <= 1
    assert facts(page)["Model"].startswith("lowlight")


def test_steps_arrive_one_by_one_with_their_pictures(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.seconds = 0.1
    page.pick(dark)
    page.type("#seed", "71")
    page.run("arguments[0].value = 6; arguments[0].dispatchEvent(new Event('input'))", page.find("#steps"))
    page.run(
        "window.heard = []; new MutationObserver(() => window.heard.push([document.querySelector('#restore .pill').textContent, "
        "document.querySelectorAll('.film img').length])).observe(document.querySelector('.film'), { childList: true })"
    )
    page.click("#go")
    page.state("done")
    heard = page.run("return window.heard")
    assert [one for one in heard if one[1] in range(1, 7)] == [[f"Step {k} of 6", k] for k in range(1, 7)]
    assert [item.text for item in page.all(".film button")] == [*(f"Step {k}" for k in range(1, 7)), "Result"]
    assert page.run("return announce.textContent").startswith("Done in")


def test_cancel_stops_the_work_and_keeps_the_picture(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.seconds = 0.4
    page.pick(dark)
    page.type("#seed", "11")
    page.click("#go")
    page.state("running")
    page.click("#cancel")
    page.state("ready")
    assert gateway.until_idle()
    assert page.find("#go").is_enabled()
    assert page.find("#restore .alert").is_displayed() is False


def test_the_line_moves_by_keyboard_and_by_mouse(page: Page, dark: Path) -> None:
    restored(page, dark)
    handle = page.find(".handle")
    page.run("arguments[0].focus()", handle)
    assert handle.get_attribute("aria-valuenow") == "50"
    page.press(Keys.ARROW_RIGHT)
    assert handle.get_attribute("aria-valuenow") == "52"
    page.press(Keys.HOME)
    assert handle.get_attribute("aria-valuetext") == "0 % original, 100 % restored"
    page.press(Keys.END)
    assert "inset(0px 0px 0px" in page.run("return arguments[0].style.clipPath", page.find(".layer.after"))
    viewer = page.find(".viewer")
    ActionChains(page.driver).move_to_element(viewer).click().perform()
    assert handle.get_attribute("aria-valuenow") in {"49", "50", "51"}
    ActionChains(page.driver).click_and_hold(handle).move_by_offset(-120, 0).release().perform()
    assert int(handle.get_attribute("aria-valuenow") or "") < 45


def test_pixels_can_be_looked_at(page: Page, dark: Path) -> None:
    restored(page, dark)
    page.run("arguments[0].focus()", page.find(".viewer"))
    page.press("1")
    assert page.text(".zoom-level") == "100 %"
    page.press("+", "+", "+", "+", "+", "+", "+", "+")
    assert int(page.text(".zoom-level").split()[0]) > 1000
    crisp = page.run("return getComputedStyle(arguments[0]).imageRendering", page.find(".layer.after img"))
    assert crisp == "pixelated"
    where = page.find(".layer.after img").get_attribute("style")
    page.press(Keys.ARROW_RIGHT)
    assert page.find(".layer.after img").get_attribute("style") != where
    assert page.run(
        "return arguments[0].style.transform === arguments[1].style.transform",
        page.find(".layer.after img"),
        page.find(".layer.before img"),
    )
    page.press("0")
    assert int(page.text(".zoom-level").split()[0]) < 1000
    ActionChains(page.driver).key_down(" ").perform()
    assert page.find(".layer.after").is_displayed() is False
    ActionChains(page.driver).key_up(" ").perform()
    assert page.find(".layer.after").is_displayed() is True


def test_residual_and_steps_are_shown(page: Page, dark: Path) -> None:
    page.type("#seed", "51")
    restored(page, dark)
    page.click("[data-view=residual]")
    page.until(lambda: page.text(".tag-after") == "Residual")
    residual = np.asarray(Image.open(io.BytesIO(page.fetched(".layer.after img", "src"))), float)
    assert residual.shape == (60, 90, 3)
    assert residual.std() < 1.5  # the fake network takes the same everywhere
    assert abs(residual.mean() - 127.5) > 20
    page.click("[data-view=steps]")
    page.until(lambda: page.text(".tag-after") == "Steps")
    strip = Image.open(io.BytesIO(page.fetched(".layer.after img", "src")))
    assert strip.width >= 3 * 90
    page.click("[data-view=compare]")
    assert page.find(".handle").is_displayed()
    page.click(".film li:first-child button")
    assert page.text(".tag-after") == "Step 1"


def test_what_is_not_a_picture_is_named_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    page.pick(tmp_path / "notes.txt")
    page.click("#go")
    page.state("error")
    alert = page.text("#restore .alert")
    assert "Not a kind of file that is read here" in alert
    assert "Save it as PNG" in alert
    assert re.search(r"Request [A-Za-z0-9._-]{8,}", alert)
    page.click("#restore .alert [data-do=dismiss]")
    assert page.find("#restore .alert").is_displayed() is False


def test_too_many_pixels_are_refused_before_they_are_sent(page: Page, gateway: Live, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(file_of(np.zeros((600, 600, 3), np.uint8)))
    calls = gateway.engine.calls
    page.pick(tmp_path / "huge.png")
    page.click("#go")
    page.state("error")
    assert "600 × 600" in page.text("#restore .alert")
    assert gateway.engine.calls == calls


def test_a_bad_seed_is_refused_where_it_is_typed(page: Page, dark: Path) -> None:
    page.pick(dark)
    page.type("#seed", "9223372036854775808")
    page.click("#go")
    assert page.find("#seed").get_attribute("aria-invalid") == "true"
    assert "9223372036854775807" in page.text("#seed-hint")
    page.type("#seed", "9223372036854775807")
    page.click("#go")
    page.state("done")
    assert facts(page)["Seed"] == "9223372036854775807"


def test_a_broken_engine_is_shown_and_can_be_tried_again(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.fault = EngineUnavailable("no engine answers", retry_after=2)
    page.pick(dark)
    page.type("#seed", "21")
    page.click("#go")
    page.until(lambda: page.find("#restore .alert").is_displayed())
    assert "engine" in page.text("#restore .alert")
    gateway.engine.fault = None
    page.click("#restore .alert [data-do=retry]")
    page.state("done")
    assert page.find("#restore .alert").is_displayed() is False


def test_a_server_that_is_gone_is_shown(page: Page, dark: Path) -> None:
    page.pick(dark)
    page.run("window.fetch = () => Promise.reject(new TypeError('gone'))")
    page.click("#go")
    page.state("error")
    assert "cannot be reached" in page.text("#restore .alert")


@pytest.mark.parametrize("room", ["restore", "generate"])
def test_a_server_that_was_away_is_shown_in_both_rooms_until_it_is_back(page: Page, room: str) -> None:
    page.driver.get("about:blank")
    script = {
        "source": "window.real = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'));"
        "const every = window.setInterval; window.setInterval = (look) => every(look, 100);"
    }
    gone = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        page.open(f"#{room}")
        page.until(lambda: page.text("#status") == "Not reachable")
        assert "cannot be reached" in page.text(f"#{room} .alert")
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", gone)
    page.run("window.fetch = window.real")
    page.until(lambda: page.find("#task").is_enabled())
    assert [alert.get_property("hidden") for alert in page.all(".alert")] == [True, True]


def test_a_key_that_no_header_can_carry_is_asked_for_again(driver: webdriver.Chrome, tmp_path: Path) -> None:
    with live(settings_for(tmp_path, keys=f"anna {sha256(b'correct-horse').hexdigest()}\n")) as locked:
        page = Page(driver, locked.url + "/")
        driver.get(page.url)
        page.until(lambda: page.find("#key-dialog").is_displayed())
        page.find("#key").send_keys("schl\u00fcssel")
        page.press(Keys.ENTER)
        page.until(lambda: "ASCII" in page.text("#key-detail"))
        page.find("#key").send_keys("correct-horse")
        page.press(Keys.ENTER)
        page.until(lambda: page.find("#task").is_enabled())


def test_a_key_is_asked_for_only_when_the_server_wants_one(driver: webdriver.Chrome, tmp_path: Path, dark: Path) -> None:
    keys = f"anna {sha256(b'correct-horse').hexdigest()}\n"
    with live(settings_for(tmp_path, keys=keys)) as locked:
        page = Page(driver, locked.url + "/")
        driver.get(page.url)
        page.until(lambda: page.find("#key-dialog").is_displayed())
        page.find("#key").send_keys("wrong")
        page.press(Keys.ENTER)
        page.until(lambda: page.find("#key-dialog").is_displayed() and page.find("#key").get_property("value") == "")
        page.find("#key").send_keys("correct-horse")
        page.press(Keys.ENTER)
        page.until(lambda: page.find("#task").is_enabled())
        restored(page, dark)
        assert page.run("return [sessionStorage.getItem('rddm-key'), JSON.stringify(localStorage)]") == ["correct-horse", "{}"]
        page.click("#curl")
        assert "correct-horse" not in page.text("#curl-dialog")
        assert "$RDDM_API_KEY" in page.text("#curl-dialog code")
        page.click("#curl-dialog [data-do=close]")
        page.click("#forget-key")
        assert page.run("return sessionStorage.getItem('rddm-key')") is None


def test_curl_is_the_same_request(page: Page, tmp_path: Path) -> None:
    picture = tmp_path / "it's dark.png"
    picture.write_bytes(file_of(pixels_of(20, 30)))
    restored(page, picture)
    page.click("#curl")
    command = page.text("#curl-dialog code")
    assert """-F 'image=@"it'\\''s dark.png"'""" in command
    assert "task=lowlight&steps=2&seed=0" in command
    page.press(Keys.ESCAPE)
    assert page.find("#curl-dialog").is_displayed() is False
    if shutil.which("curl"):
        subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert (tmp_path / "it's dark-restored.png").read_bytes() == page.fetched("#download", "href")


def test_a_picture_can_be_dropped_or_pasted(page: Page, dark: Path) -> None:
    script = """const [data, kind] = arguments; const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const carried = new DataTransfer(); carried.items.add(new File([bytes], kind + ".png", { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);"""
    data = base64.b64encode(dark.read_bytes()).decode()
    for kind in ("drop", "paste"):
        page.run(script, data, kind)
        page.until(lambda kind=kind: page.text(".picked-name") == f"{kind}.png")
        assert page.text(".picked-size").startswith("90 × 60")


def test_a_file_that_the_browser_cannot_show_is_restored(page: Page, tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(file_of(pixels_of(40, 50), "TIFF"))
    page.pick(tmp_path / "scan.tif")
    assert page.find(".unseen").is_displayed()
    page.click("#go")
    page.state("done")
    assert page.find("#download").get_attribute("download") == "scan-restored.tif"
    assert Image.open(io.BytesIO(page.fetched("#download", "href"))).format == "TIFF"
    assert "preview" in facts(page)["Shown"]
    assert page.run("return arguments[0].naturalWidth", page.find(".layer.after img")) == 50


def test_a_mask_is_offered_where_the_model_takes_one(page: Page, dark: Path, tmp_path: Path) -> None:
    assert page.find("#mask").is_displayed() is False
    page.run("arguments[0].value = 'unshadow'; arguments[0].dispatchEvent(new Event('change'))", page.find("#task"))
    (tmp_path / "mask.png").write_bytes(file_of(np.full((60, 90), 255, np.uint8)))
    page.find("#mask").send_keys(str(tmp_path / "mask.png"))
    restored(page, dark)
    page.click("#curl")
    assert "mask.png" in page.text("#curl-dialog code")
    page.press(Keys.ESCAPE)


def test_generates_pictures_and_draws_one_again_from_its_seed(page: Page) -> None:
    page.click("#tab-generate")
    page.run("arguments[0].value = 3; arguments[0].dispatchEvent(new Event('input'))", page.find("#count"))
    page.click("#generate-go")
    page.state("done", "generate")
    captions = [button.text for button in page.all(".gallery figcaption button")]
    first = int(captions[0].split()[1])
    assert captions == [f"Seed {first + k}" for k in range(3)]
    second = page.fetched(".gallery li:nth-child(2) a", "href")
    page.click(".gallery li:nth-child(2) figcaption button")
    page.run("arguments[0].value = 1; arguments[0].dispatchEvent(new Event('input'))", page.find("#count"))
    page.click("#generate-go")
    page.until(lambda: len(page.all(".gallery li")) == 1 and page.find(".gallery").is_displayed())
    assert page.fetched(".gallery li a", "href") == second


def test_a_long_seed_keeps_its_last_digits(page: Page) -> None:
    page.open("#generate")
    page.type("#generate-seed", "9007199254740993")
    page.run("arguments[0].value = 2; arguments[0].dispatchEvent(new Event('input'))", page.find("#count"))
    page.click("#generate-go")
    page.state("done", "generate")
    assert [button.text for button in page.all(".gallery figcaption button")] == ["Seed 9007199254740993", "Seed 9007199254740994"]


def test_a_sheet_is_one_picture(page: Page) -> None:
    page.open("#generate")
    page.click("#grid")
    page.click("#generate-go")
    page.state("done", "generate")
    assert len(page.all(".gallery li")) == 1
    assert Image.open(io.BytesIO(page.fetched(".gallery a", "href"))).width > 32


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    page.run("document.body.focus()")
    passed = []
    for _ in range(12):
        page.press(Keys.TAB)
        passed.append(page.driver.switch_to.active_element.text)
        if page.driver.switch_to.active_element.get_attribute("id") == "sample":
            break
    assert "Choose a picture" in passed
    assert page.driver.switch_to.active_element.get_attribute("id") == "sample"
    assert "solid" in page.run("return getComputedStyle(document.activeElement).outlineStyle")
    page.press(Keys.ENTER)
    page.state("done")
    seen = set()
    page.run("document.querySelector('#tab-restore').focus()")
    for _ in range(30):
        page.press(Keys.TAB)
        element = page.driver.switch_to.active_element
        seen |= {element.get_attribute("id"), element.get_attribute("class"), element.get_attribute("data-view")}
    assert {"compare", "viewer", "handle", "task", "steps", "go", "download", "curl"} <= seen
    page.run("document.querySelector('[data-view=compare]').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.find("[data-view=after]").get_attribute("aria-checked") == "true"
    page.run("document.querySelector('#tab-restore').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.find("#generate").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_controls_have_names(page: Page, dark: Path, tmp_path: Path, scheme: str) -> None:
    page.prefer(prefers_color_scheme=scheme)
    assert page.run(CONTRAST) == []
    restored(page, dark)
    assert page.run(CONTRAST) == []
    assert page.run(UNNAMED) == []
    (tmp_path / "notes.txt").write_text("hello")
    page.pick(tmp_path / "notes.txt")
    page.click("#go")
    page.state("error")
    assert page.run(CONTRAST) == []
    page.click("#tab-generate")
    assert page.run(CONTRAST) == []
    assert page.run(UNNAMED) == []


def test_colours_follow_the_system_until_they_are_chosen(page: Page) -> None:
    def ground() -> int:
        return sum(map(int, re.findall(r"\d+", page.run("return getComputedStyle(document.body).backgroundColor"))[:3]))

    page.prefer(prefers_color_scheme="dark")
    assert ground() < 150
    page.click("#theme")
    assert ground() > 600
    page.open()
    assert ground() > 600
    page.click("#theme")
    page.prefer(prefers_color_scheme="light")
    assert ground() < 150
    page.click("#theme")
    assert ground() > 600


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_hangs_over_the_edge(page: Page, dark: Path, width: int) -> None:
    page.size(width, 760)
    page.open()

    def wide() -> list[str]:
        return page.run(
            "const w = innerWidth; return [...document.querySelectorAll('body *')].filter((n) => n.checkVisibility() && "
            "!n.closest('.layer, .away, .film, .handle, .skip, pre') && n.getBoundingClientRect().right > w + 1)"
            ".map((n) => n.outerHTML.slice(0, 90));"
        )

    assert wide() == []
    restored(page, dark)
    assert wide() == []
    assert page.run("return document.documentElement.scrollWidth") <= width
    small = page.run(
        "return [...document.querySelectorAll('.button, select, .segments button')].filter((n) => n.checkVisibility())"
        ".map((n) => n.getBoundingClientRect().height).filter((h) => h < 24);"
    )
    assert small == []
    page.click("#tab-generate")
    assert wide() == []


def test_motion_is_reduced_where_that_is_wished(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.seconds = 0.5
    page.prefer(prefers_reduced_motion="reduce")
    page.pick(dark)
    page.type("#seed", "31")
    page.click("#go")
    page.state("running")
    assert page.run("return getComputedStyle(document.querySelector('#restore .progress i')).animationName") == "none"
    page.click("#cancel")
    page.state("ready")


def test_the_page_takes_nothing_from_another_host(page: Page, gateway: Live) -> None:
    page.click("#sample")
    page.state("done")
    names = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names
    assert {name for name in names if not name.startswith((gateway.url, "data:", "blob:"))} == set()
    policy = httpx2.get(gateway.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_reference_shows_every_route_of_the_openapi_document(page: Page, gateway: Live) -> None:
    document = httpx2.get(f"{gateway.url}/openapi.json", timeout=60).json()
    expected = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    page.driver.get(page.url + "static/reference.html#post-restore")
    page.until(lambda: len(page.all("#operations section")) == len(expected))
    assert {" ".join(heading.text.split()) for heading in page.all("#operations h3")} == expected
    page.until(lambda: abs(page.run("return document.querySelector('#post-restore').getBoundingClientRect().top")) < 100)
    assert "0 to 2^63 - 1" in page.text("#post-restore")
    assert page.run(CONTRAST) == []
    names = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(gateway.url) for name in names)
    page.size(360, 760)
    assert page.run("return document.documentElement.scrollWidth") <= 360


def test_two_pages_are_served_side_by_side(page: Page, gateway: Live, dark: Path) -> None:
    """A second caller works while the page's own request runs."""
    gateway.engine.seconds = 0.2
    page.pick(dark)
    page.type("#seed", "41")
    page.click("#go")
    page.state("running")
    made = []

    def other() -> None:
        with Client(gateway.url) as client:
            made.append(client.restore(dark.read_bytes(), seed=42).seed)

    thread = threading.Thread(target=other)
    thread.start()
    page.state("done")
    thread.join(PATIENCE)
    assert made == [42]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The gateway as a newcomer starts it: the embedded engine and the models that ship."""
    with live(settings_for(tmp_path_factory.mktemp("shipped")), embedded=True) as running:
        yield running


def psnr_to_clean(picture: Image.Image, name: str) -> float:
    """dB, after shrinking to the size of the clean rendering that lies beside this file (mean over boxes: noise hardly counts)."""
    with Image.open(Path(__file__).with_name(f"clean-{name}.png")) as clean:
        small = np.asarray(picture.convert("RGB").resize(clean.size, Image.Resampling.BOX), float)
        return float(10 * np.log10(255**2 / np.mean((small - np.asarray(clean.convert("RGB"), float)) ** 2)))


@pytest.mark.parametrize(("task", "name", "gain"), [("lowlight", "still-life", 8.0), ("derain", "garden", 2.0)])
def test_the_models_that_ship_restore_the_samples(
    driver: webdriver.Chrome, shipped: Live, task: str, name: str, gain: float
) -> None:
    page = Page(driver, shipped.url + "/").open()
    page.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))", page.find("#task"), task)
    page.click("#sample")
    page.state("done")
    assert page.text(".picked-name") == f"{name}.jpg"
    assert facts(page)["Model"].startswith(task)
    restored = Image.open(io.BytesIO(page.fetched("#download", "href")))
    with Image.open(PAGE / f"sample-{task}.jpg") as sample:
        assert psnr_to_clean(restored, name) > psnr_to_clean(sample, name) + gain
    assert page.complaints() == []


def test_the_sample_is_small_and_its_files_have_no_inline_code() -> None:
    assert {path.name for path in PAGE.glob("sample-*") if path.stat().st_size <= 60_000} == {
        "sample-lowlight.jpg",
        "sample-derain.jpg",
    }
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<script(?![^>]*\bsrc=)", text) is None
    assert re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", text) is None
    assert all("//" not in re.sub(r"https?://www\.w3\.org/\S+", "", path.read_text("utf-8")) for path in PAGE.glob("*.css"))


def turn(page: Page, selector: str, value: float) -> None:
    """A slider moved and let go."""
    script = "arguments[0].value = arguments[1]; for (const n of ['input', 'change']) arguments[0].dispatchEvent(new Event(n))"
    page.run(script, page.find(selector), str(value))


PAINTED = """
const canvas = document.querySelector(".after canvas");
return canvas.hidden ? null : [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
"""


def painted(page: Page) -> np.ndarray:
    """The pixels that stand in place of the result."""
    return np.array(page.until(lambda: page.run(PAINTED))).reshape(60, 90, 4)[..., :3]


def downloaded(page: Page) -> np.ndarray:
    page.until(lambda: page.text("#download") == "Download" and page.find("#download").get_attribute("href"))
    return np.asarray(Image.open(io.BytesIO(page.fetched("#download", "href"))))


def test_strength_and_brightness_answer_at_once_and_the_file_is_what_is_shown(page: Page, gateway: Live, dark: Path) -> None:
    restored(page, dark)
    whole, calls = downloaded(page), gateway.engine.calls
    turn(page, "#strength", 40)
    expected = blended(np.asarray(Image.open(dark)), whole, 0.4)
    assert np.abs(painted(page).astype(int) - expected).max() <= 1
    assert np.array_equal(downloaded(page), expected)
    assert page.text("#strength-value") == "40 %"
    turn(page, "#strength", 100)
    turn(page, "#brightness", -1.5)
    expected = adjusted(whole, whole, stops=-1.5)
    page.until(lambda: np.abs(painted(page).astype(int) - expected).max() <= 1)
    assert np.array_equal(downloaded(page), expected)
    assert page.text("#brightness-value") == "\u22121.5"
    page.click("#curl")
    assert "brightness=-1.5" in page.text("#curl-dialog code")
    page.click("#curl-dialog [data-do=close]")
    assert gateway.engine.calls == calls


def test_settings_that_are_turned_before_the_work_hold_for_its_result(page: Page, dark: Path) -> None:
    page.pick(dark)
    turn(page, "#strength", 0)
    page.click("#go")
    page.state("done")
    assert np.abs(painted(page).astype(int) - np.asarray(Image.open(dark))).max() <= 1
    assert np.array_equal(downloaded(page), np.asarray(Image.open(dark)))


def test_several_tasks_are_chosen_one_after_another(page: Page, dark: Path) -> None:
    page.run("arguments[0].value = 'keeper'; arguments[0].dispatchEvent(new Event('change'))", page.find("#task"))
    assert not page.find("#brightness-field").is_displayed()
    page.run("arguments[0].value = 'lowlight'; arguments[0].dispatchEvent(new Event('change'))", page.find("#thens select"))
    assert len(page.all("#thens select")) == 2
    assert page.find("#brightness-field").is_displayed()
    restored(page, dark)
    assert facts(page)["Model"].startswith("keeper, lowlight")
    assert facts(page)["Steps"] == "4"
    assert not page.find("[data-view=residual]").is_enabled()


def test_the_formats_of_the_page_are_the_servers(page: Page) -> None:
    offered = page.run("return [...document.querySelector('#format').options].map(({ value }) => value)")
    assert offered == ["", *FORMATS]
    assert "JPEG XL or HEIC" in page.text(".drop-inner p")
    assert ".hif" in page.find("#file").get_attribute("accept")


def test_the_page_begins_with_automatic_and_says_what_was_seen(driver: webdriver.Chrome, gateway: Live, dark: Path) -> None:
    page = Page(driver, gateway.url + "/").open(task=None)
    assert page.find("#task").get_property("value") == "auto"
    assert not page.find("#steps").is_enabled()
    restored(page, dark)
    seen = facts(page)
    assert "%" in seen["Seen"]
    assert seen["Done"] in {"lowlight", "nothing: as it came"}
    assert not page.find("[data-view=residual]").is_enabled()
    assert page.complaints() == []


def test_best_quality_is_asked_for_on_the_page(page: Page, dark: Path) -> None:
    page.click("#best")
    restored(page, dark)
    page.click("#curl")
    assert "quality=best" in page.text("#curl-dialog code")
