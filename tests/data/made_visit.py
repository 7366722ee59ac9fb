"""A visit to a page in a real browser: what a person does there, and what can be measured of what is drawn."""

import re
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

browsing = pytest.importorskip(
    "playwright.sync_api", reason="needs a browser's driver: pip install playwright"
)
expect = browsing.expect
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=device-count=2",
    "--no-sandbox",
)
UNNAMED = re.compile(
    r"^\s*- (?:button|link|searchbox|textbox|combobox|switch|checkbox|radio|img|dialog|log|table|group|progressbar)"
    r"\s*(?:\[.*\])?:?$",
    re.MULTILINE,
)
"""Of what a screen reader is told: a thing to use, or to know, without a name."""

PIXELS = """(canvas, rgb) => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const rows = new Set();
  for (let n = 0; n < data.length; n += 4)
    if (rgb.every((value, k) => Math.abs(data[n + k] - value) <= 1) && data[n + 3] === 255)
      rows.add(Math.floor(n / 4 / canvas.width));
  return [...rows];
}"""
"""The rows of a canvas in which a colour is."""

RIBBON = 55
"""The row of the timeline above which segments are, and below which frames are."""

TIMELINE = """async ([names, frames]) => {
  const {Timeline} = await import('/page/timeline.js');
  const {Labels} = await import('/page/labels.js');
  const canvas = document.createElement('canvas');
  document.getElementById('main').append(canvas);
  const line = new Timeline(canvas);
  line.span = 10;
  line.begin(new Labels(names));
  for (const [time, bright] of frames) {
    const probabilities = bright ? [0, 0.5] : [1, 0];
    const closed = time === 3 ? [{start: 0, end: 2, label: names[0], score: 1}] : [];
    line.add({time, probabilities, open: time > 2 ? {start: 2, label: names[1]} : null, closed});
  }
  line.draw(4);
  const pen = canvas.getContext('2d');
  const at = (seconds, y) => [...pen.getImageData(seconds * canvas.width / 10, y, 1, 1).data].slice(0, 3);
  const seen = [at(1, 40), at(3, 40), at(7, 40), at(3.5, 140), at(3.5, 70)];
  canvas.remove();
  return seen;
}"""
"""Draws made answers; the colours in the closed segment, the open one and beside them, in the ribbon low and high."""

CONTRAST = """() => {
  const probe = document.createElement('p');
  document.body.append(probe);
  const light = (name) => {
    probe.style.color = `var(--${name})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((value) =>
      (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one) + 0.05, light(other) + 0.05];
    return Math.max(a / b, b / a);
  };
  const grounds = ['ground', 'card', 'track'];
  const words = ['ink', 'quiet', 'accent', 'bad'].flatMap((word) => grounds.map((ground) => ratio(word, ground)));
  const least = [Math.min(...words, ratio('on-accent', 'accent')),
    Math.min(...grounds.map((ground) => ratio('edge', ground)))];
  probe.remove();
  return least;
}"""
"""The least contrast of words, and of the edges of controls, in the theme that is shown."""


@contextmanager
def browser_on_path():
    """A browser without a window, with two cameras that show a test picture; skips where there is none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser on the path: one of {', '.join(BROWSERS)}")
    with browsing.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield opened
        opened.close()


class Visit:
    """A page that is open, and what went wrong on it."""

    def __init__(self, browser, home, view="", **options):
        options = {"viewport": {"width": 1000, "height": 700}, "reduced_motion": "reduce"} | options
        self.context = browser.new_context(permissions=["camera"], **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.wrong, self.asked = [], []
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.origin = urlsplit(home).netloc
        self.page.goto(f"{home}#{view}" if view else home)
        expect(self.page.locator(".view:visible h1")).to_be_visible()

    def choose(self, button, *files):
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=button, exact=True).click()
        chooser.value.set_files(files)

    def saved(self, button):
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=button, exact=True).click()
        with open(download.value.path(), encoding="utf-8", newline="") as file:
            return download.value.suggested_filename, file.read()

    def audit(self):
        """What holds of every state of the page."""
        assert UNNAMED.findall(self.page.locator("html").aria_snapshot()) == []
        for width in (1600, 1000, 320):
            self.page.set_viewport_size({"width": width, "height": 700})
            size = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            scrolled, room = self.page.evaluate(size)
            assert scrolled <= room, f"hangs over at {width} pixels"
        assert {urlsplit(url).netloc for url in self.asked if url.startswith(("http", "ws"))} == {self.origin}
