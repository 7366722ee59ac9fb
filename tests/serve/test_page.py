"""The page in a real browser, on the real server with small models: what a person does with it."""

import csv
import io
import json
import re
import time
from contextlib import suppress
from itertools import groupby

import httpx
import numpy as np
import pytest
from made_photos import COLOURS, draw
from made_server import (
    Arithmetic,
    arithmetic,
    captioner,
    describer,
    finder,
    listening,
    ready,
    recognizer,
    streamable,
)
from made_video import make_video
from made_visit import CONTRAST, PATIENCE, PIXELS, RIBBON, TIMELINE, Visit, browser_on_path, browsing, expect
from PIL import Image

from lrcn.palette import palette
from lrcn.serve import server as serving
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.photos import Photos
from lrcn.serve.service import Service

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")

LABELS = ("dark", "bright")
COLOUR_OF = palette(LABELS)
_DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="
SHOTS = [
    {"start": 0.0, "end": 2.0, "sentence": "It is dark.", "move": "pan", "thumbnail": _DOT},
    {"start": 2.0, "end": 4.0, "sentence": "“Bright”, as day.", "move": None, "thumbnail": _DOT},
]


class Told(Served):
    """What is served, but what is said of a video is known."""

    def describe(self, path, name, job):
        return {"path": name, "shots": SHOTS}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, left in enumerate(COLOURS):
        for other, right in enumerate(COLOURS):
            picture = draw((left, "circle"), (right, "square"))
            Image.fromarray(picture).save(folder / f"{number}{other} {left} and {right}.png")
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of dark, two of bright."""
    pictures = [np.full((48, 64, 3), 20 if n < 32 else 235, np.uint8) for n in range(64)]
    path = tmp_path_factory.mktemp("film") / "dark, then bright.webm"
    return make_video(path, 64, codec="libvpx", rate=16, size=(64, 48), pictures=pictures)


@pytest.fixture(scope="module")
def browser():
    with browser_on_path() as opened:
        yield opened


@pytest.fixture(scope="module")
def home(photos):
    """A server of all jobs: live by arithmetic, whose answers are known, and the rest with chance for weights."""
    limits = Limits(upload_bytes=200_000)
    names = {job: f"tiny-{job}" for job in ("recognize", "caption", "describe", "search")}
    live, found = streamable(Arithmetic(), 10.0), Photos.of(str(photos), finder(), print)
    served = Told(names, limits, recognizer(), live, captioner(), describer(), found)
    with listening(lambda: Service(lambda: served, limits)) as (host, port, _):
        address = f"http://{host}:{port}/"
        with httpx.Client(base_url=address) as client:
            ready(client)
        yield address


@pytest.fixture
def visit(browser, home):
    """Opens a view; afterwards the page must be in order."""
    opened = []

    def go(view="", at=home, **options):
        opened.append(Visit(browser, at, view, **options))
        return opened[-1]

    yield go
    for one in opened:
        one.audit()
        # A request that was refused is an error to the console of a browser, and here it is what was meant.
        assert [text for text in one.wrong if not text.startswith("Failed to load resource")] == []
        one.context.close()


def until(page, true):
    """Waits for what the page does not tell in words."""
    end = time.monotonic() + PATIENCE / 1000
    while not true():
        assert time.monotonic() < end, "it did not come true"
        page.wait_for_timeout(100)


def rows_with(page, label):
    """The rows of the timeline's canvas that have a label's colour."""
    return page.locator("#live-timeline").evaluate(PIXELS, list(COLOUR_OF[label]))


def test_a_camera_gives_labels_and_a_timeline(visit):
    page = visit("live").page
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#live-label")).to_have_text("dark")
    expect(page.locator("#live-sure")).to_have_text(re.compile(r"^\d+ %$"))
    expect(page.locator("#live-rate")).to_have_text(re.compile(r"^\d+\.\d$"))
    expect(page.locator("#live-latency")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(page.get_by_label("Most probable labels").get_by_role("listitem")).to_have_count(2)
    until(page, lambda: max(rows_with(page, "dark"), default=0) > RIBBON)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live-status")).to_have_text(re.compile(r"^Stopped. \d+ segment"))
    expect(page.get_by_role("log").get_by_role("listitem").first).to_contain_text("dark")
    assert min(rows_with(page, "dark")) < RIBBON
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()


def test_a_film_is_read_at_its_own_times(visit, film):
    one = visit("live")
    one.choose("Choose a video", film)
    expect(one.page.locator("#live-status")).to_have_text(re.compile(r"^The video has ended. \d segments.$"))
    name, text = one.saved("Save as CSV")
    assert name == "dark, then bright-segments.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["path"] for row in rows} == {film.name}
    # On a slow machine frames may be so far apart that a segment is cut in two.
    assert [label for label, _ in groupby(row["label"] for row in rows)] == list(LABELS)
    assert float(rows[0]["start"]) < 2 < float(rows[-1]["end"])
    for label in LABELS:
        assert min(rows_with(one.page, label)) < RIBBON


def test_a_timeline_is_drawn_to_scale(visit):
    page = visit("live").page
    frames = [[time / 10, time >= 25] for time in range(41)]
    closed, going, nothing, below, above = page.evaluate(TIMELINE, [list(LABELS), frames])
    dark, bright = (list(COLOUR_OF[label]) for label in LABELS)
    assert closed == dark
    # What may still change is pale.
    assert going not in (bright, nothing)
    assert below == bright
    assert above == nothing


def test_live_can_be_paused_begun_anew_and_moved_to_another_camera(visit):
    page = visit("live").page
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#live-label")).to_have_text("dark")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-status")).to_have_text("Paused.")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#live-status")).to_have_text("Live.")
    page.get_by_role("button", name="Start anew").click()
    expect(page.locator("#live-status")).to_have_text("Begun anew.")
    expect(page.locator("#live-label")).to_have_text("dark")
    cameras = page.get_by_role("combobox", name="Camera")
    expect(cameras.locator("option")).to_have_count(2)
    other = cameras.locator("option").nth(1).get_attribute("value")
    cameras.select_option(other)
    using = "document.getElementById('live-video').srcObject.getVideoTracks()[0].getSettings().deviceId"
    until(page, lambda: page.evaluate(using) == other)
    expect(page.locator("#live-error")).to_be_empty()
    page.get_by_role("switch", name="Every few seconds").check()
    expect(page.locator("#live-sentence .when")).to_be_visible()


def test_a_photo_gets_sentences_and_its_like(visit, home, photos):
    photo = photos / "00 red and red.png"
    asked = {"files": {"file": photo.read_bytes()}, "data": {"n": "5"}, "timeout": 30}
    told = httpx.post(f"{home}api/caption", **asked).json()
    one = visit("photo")
    one.choose("Choose a photo", photo)
    expect(one.page.locator("#photo-others li")).to_have_text([other["caption"] for other in told["others"]])
    expect(one.page.locator("#photo-sentence")).to_have_text(told["caption"])
    found = one.page.locator("#photo-grid li")
    expect(found).to_have_count(12)
    expect(found.first).to_contain_text("00 red and red.png")
    expect(found.first).to_contain_text("1.00")
    one.page.get_by_role("combobox", name="Sentences").select_option("1")
    expect(one.page.locator("#photo-others")).not_to_be_visible()


def test_a_photo_can_be_dropped_or_pasted(visit, photos):
    page = visit("photo").page
    content = list((photos / "11 green and green.png").read_bytes())
    carried = """(bytes) => {
      const held = new DataTransfer();
      held.items.add(new File([new Uint8Array(bytes)], 'held.png', {type: 'image/png'}));
      return held;
    }"""
    held = page.evaluate_handle(carried, content)
    for act in ("paste", "drop"):
        page.evaluate("document.getElementById('photo-others').replaceChildren()")
        if act == "drop":
            page.dispatch_event("#photo-screen", "drop", {"dataTransfer": held})
        else:
            page.evaluate(
                "(held) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: held}))", held
            )
        expect(page.locator("#photo-others li")).to_have_count(4)


def test_what_the_server_refuses_is_told_where_it_was_asked(visit, tmp_path):
    one = visit("photo")
    (tmp_path / "text.png").write_text("no photo")
    one.choose("Choose a photo", tmp_path / "text.png")
    expect(one.page.locator("#photo-error")).to_have_text(re.compile("no photo that can be read"))
    (tmp_path / "large.png").write_bytes(bytes(300_000))
    one.choose("Choose another photo", tmp_path / "large.png")
    expect(one.page.locator("#photo-error")).to_have_text(
        "large.png has 0.3 MB, and this server takes up to 0.2 MB."
    )


def test_search_with_the_keyboard_alone(visit):
    page = visit().page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Search")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Find a photo")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("red elephant")
    page.keyboard.press("Enter")
    expect(page.locator("#search-status")).to_have_text(re.compile("^16 of 16 photos for “red elephant”"))
    expect(page.locator("#search-error")).to_have_text("Not known to the model, and left out: elephant.")
    for _ in range(3):
        page.keyboard.press("Tab")
    photos = page.locator("#search-grid button")
    expect(photos.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 of 16")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("3 of 16")
    page.keyboard.press("Escape")
    expect(photos.nth(2)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Use this photo").press("Enter")
    expect(page.locator("#photo-others li")).to_have_count(4)


def test_a_video_becomes_a_list_that_can_be_played_and_kept(visit, film):
    one = visit("video")
    one.choose("Choose a video", film)
    rows = one.page.locator("tbody tr")
    expect(rows).to_have_count(len(SHOTS))
    for row, shot in zip(rows.all(), SHOTS, strict=True):
        expect(row).to_contain_text(shot["sentence"])
        expect(row).to_contain_text(shot["move"] or "")
    one.page.get_by_role("button", name="Play 0:02.0 – 0:04.0").click()
    expect(one.page.locator("#video-sentence")).to_have_text(SHOTS[1]["sentence"])
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    assert one.page.locator("#video-shown").evaluate("video => video.currentTime") >= 2
    name, text = one.saved("CSV")
    assert name == "dark, then bright.csv"
    assert [row["sentence"] for row in csv.DictReader(io.StringIO(text))] == [s["sentence"] for s in SHOTS]
    lines = one.saved("SRT")[1].splitlines()
    assert lines[:3] == ["1", "00:00:00,000 --> 00:00:02,000", SHOTS[0]["sentence"]]
    for kept, shot in zip(json.loads(one.saved("JSON")[1])["shots"], SHOTS, strict=True):
        assert "thumbnail" not in kept
        assert kept.items() <= shot.items()
    one.page.get_by_label("Segments, by label").check()
    expect(one.page.get_by_role("columnheader", name="Score")).to_be_visible()
    assert one.saved("CSV")[1].startswith("path,start,end,label,score\n")


def test_a_server_that_goes_is_missed_and_found_again(visit, monkeypatch):
    with listening(arithmetic) as (host, port, _):
        home = f"http://{host}:{port}/"
        one = visit("live", at=home)
        one.page.get_by_role("button", name="Use the camera").click()
        expect(one.page.locator("#live-label")).to_have_text("dark")
    banner = one.page.locator("#banner")
    expect(banner).to_contain_text("The server does not answer.")
    listen = serving.listen
    monkeypatch.setattr(serving, "listen", lambda at, _: listen(at, port))
    with listening(arithmetic):
        with suppress(browsing.Error):
            one.page.get_by_role("button", name="Try now").click(timeout=1000)
        expect(banner).to_be_empty()
        expect(one.page.locator("#live-status")).to_have_text("Live.")
        one.wrong[:] = [text for text in one.wrong if "ERR_CONNECTION_REFUSED" not in text]
        one.audit()
        one.page.get_by_role("button", name="Stop").click()
        expect(one.page.locator("#live-status")).to_have_text(re.compile("^Stopped"))


def test_what_is_not_served_says_how_to_have_it(visit):
    with listening(arithmetic) as (host, port, _):
        page = visit("live", at=f"http://{host}:{port}/").page
        for view, option in (("Photo", "--caption"), ("Search", "--index"), ("Video", "--describe")):
            page.get_by_role("link", name=view).click()
            expect(page.locator(".view:visible .off")).to_contain_text(f"lrcn serve {option}")
        expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
        page.get_by_role("link", name="Search").click()
        expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)


def test_a_camera_that_may_not_be_used_is_told(visit):
    page = visit("live").page
    refusing = "async () => { throw new DOMException('', 'NotAllowedError'); }"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {refusing}; }}")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert").filter(has_text="allow it in the address bar")).to_be_visible()
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()


def test_both_themes_can_be_read_and_the_choice_is_kept(visit):
    page = visit("photo", color_scheme="light").page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    words, lines = page.evaluate(CONTRAST)
    assert words >= 4.5
    assert lines >= 3
    button = page.get_by_role("button", name="Dark theme")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    words, lines = page.evaluate(CONTRAST)
    assert words >= 4.5
    assert lines >= 3
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(ground) != light


def test_labels_have_the_colours_that_they_have_everywhere(visit):
    page = visit("live").page
    names = [str(number) for number in range(40)]
    there = page.evaluate("import('/page/palette.js').then(({colours}) => colours(40))")
    assert [tuple(colour) for colour in there] == list(palette(names).values())
