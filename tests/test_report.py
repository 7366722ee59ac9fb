"""The report: self-contained, safe with any text, and every number it shows is one it was given."""

import html
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.predict import Recognition
from lrcn.report import (
    ClipView,
    Reference,
    Section,
    bars,
    clip_section,
    commands,
    page,
    paragraph,
    percent,
    table,
)
from lrcn.segments import segments

LABELS = ["left", "right", "</script><b>up"]
TIMES = np.arange(10) / 10


def recognition(answers, sure=0.8):
    """A recognition that names `answers` (indices) frame by frame."""
    scores = np.full((len(answers), len(LABELS)), (1 - sure) / (len(LABELS) - 1), np.float32)
    scores[np.arange(len(answers)), answers] = sure
    times = np.arange(len(answers)) / 10
    end = len(answers) / 10
    pieces = segments(scores, times, LABELS, end=end, smoothing=0)
    mean = scores.mean(axis=0)
    best = int(mean.argmax())
    probabilities = dict(zip(LABELS, mean.tolist(), strict=True))
    return Recognition(
        "a.mp4", LABELS[best], float(mean[best]), probabilities, scores, times, pieces, LABELS, 0.0, end
    )


@pytest.fixture
def view(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"not really a film")
    truth = Reference("Truth", TIMES, ["left"] * 5 + ["right"] * 5)
    rows = [("LRCN", recognition([0] * 6 + [1] * 4)), ("Single frame", recognition([2] * 10))]
    return ClipView(video, b"jpeg", (320, 200), rows, "A clip & more.", truth)


def outside(text):
    """Addresses that a browser would fetch from outside the page, its scripts apart."""
    text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    fetched = re.findall(r"""\s(?:src|poster|srcset|data|action)\s*=\s*["']?([^"'\s>]+)""", text)
    fetched += re.findall(r"<link[^>]*href=[\"']?([^\"'\s>]+)", text) + re.findall(r"url\(([^)]*)\)", text)
    fetched += re.findall(r"""@import\s+["']?([^"';]+)""", text)
    return [one for one in fetched if not one.startswith(("data:", "blob:"))]


def test_a_page_fetches_nothing_and_forbids_it(view):
    text = page("T", "<p>lead</p>", [clip_section("c", "Clip", view, {})])
    assert outside(text) == []
    assert outside(text + '<img src="https://example.org/a.png">') == ["https://example.org/a.png"]
    assert "default-src 'none'" in text
    assert "</html>" in text


def test_labels_and_titles_cannot_break_out_of_the_page(view):
    text = page("<i>", "", [clip_section("c", "<u>", view, {})])
    assert "<b>up" not in text
    assert "<u>" not in text
    assert "<title>&lt;i&gt;</title>" in text


def test_the_scripts_numbers_are_the_recognitions(view):
    body = clip_section("c", "Clip", view, {}).body
    numbers = json.loads(re.search(r'<script type="application/json">(.*?)</script>', body, re.DOTALL)[1])
    assert numbers["labels"] == LABELS
    assert numbers["end"] == 1.0
    truth, main, single = numbers["rows"]
    assert truth["best"] == [0] * 5 + [1] * 5
    assert main["best"] == [0] * 6 + [1] * 4
    assert single["scores"][0] == [100, 100, 800]
    assert main["times"] == TIMES.tolist()


def test_agreement_is_written_beside_each_row(view):
    body = clip_section("c", "Clip", view, {}).body
    assert "90 % right (9 of 10)" in body
    assert "0 % right (0 of 10)" in body


def test_every_segment_can_be_gone_to(view):
    body = clip_section("c", "Clip", view, {}).body
    seeks = [float(s) for s in re.findall(r'data-seek="([\d.]+)"', body)]
    assert seeks == [s.start for _, r in view.rows for s in r.segments]


def test_a_reference_holds_until_the_next_and_is_silent_before_the_first():
    reference = Reference("R", np.array([0.5, 1.0]), ["left", None], exact=False)
    assert reference.at(np.array([0.0, 0.4999, 0.7, 1.0, 3.0])) == [None, "left", "left", None, None]


def test_agreement_counts_only_where_the_reference_speaks():
    reference = Reference("R", np.array([0.3, 0.6]), ["left", None], exact=False)
    assert reference.agreement(recognition([0, 0, 0, 0, 1, 0, 0, 0])) == (2, 3)


def test_a_clip_without_reference_claims_no_accuracy(view):
    bare = ClipView(view.video, view.poster, view.size, view.rows, view.text)
    body = clip_section("c", "Clip", bare, {}).body
    assert "right (" not in body
    assert "agree (" not in body


def test_a_silent_reference_claims_no_accuracy(view):
    silent = Reference("Tracking", np.zeros(0), [], exact=False)
    body = clip_section("c", "C", ClipView(view.video, b"", (4, 4), view.rows, "", silent), {}).body
    assert "agree (" not in body


@given(st.floats(0, 1))
def test_only_all_is_all_and_only_nothing_is_nothing(share):
    text = percent(share)
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share == 0)


@given(st.text(max_size=40))
def test_any_text_is_shown_as_it_is(text):
    plain = text.replace("`", "")
    assert (
        html.unescape(re.sub(r"</?(p|td|th|tr|table|thead|tbody|div)[^>]*>", "", paragraph(plain))) == plain
    )
    cell = table(["h"], [[text]])
    assert html.unescape(cell.split("<td>")[1].split("</td>")[0]) == text


def test_sections_are_reached_from_the_menu():
    text = page("T", "", [Section("one", "First", "<p>1</p>", "One"), Section("two", "Second", "<p>2</p>")])
    assert '<a href="#one">One</a>' in text
    assert 'href="#two"' not in text
    assert text.index('id="one"') < text.index('id="two"')


def test_commands_are_escaped_and_bars_have_their_shares():
    assert "<code>lrcn x &lt; y</code>" in commands([("Do `this`:", "lrcn x < y")])
    assert "<code>this</code>" in commands([("Do `this`:", "")])
    assert "width:25.00%" in bars([("a", 0.25, "")])
