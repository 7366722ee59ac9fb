"""Text forms of results: what a program reads back is what was found."""

import csv
import io
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn import writers
from lrcn.errors import LrcnError
from lrcn.predict import Failure, Recognition
from lrcn.segments import Segment

LABELS = ["pan left", "zoom", "rest"]
BAD = Failure("bad.mp4", "bad.mp4 is not a video.")


def recognition(path="clip.mp4", spans=((0, 1.5, "pan left"), (1.5, 4, "zoom")), labels=LABELS):
    found = [Segment(float(a), float(b), label, 0.875) for a, b, label in spans]
    end = found[-1].end if found else 1.0
    times = np.arange(0, end, max(end / 20, 1e-3))
    per_frame = np.full((len(times), len(labels)), 1 / len(labels), np.float32)
    probabilities = {label: 1 / len(labels) for label in labels}
    return Recognition(
        path, labels[0], 0.9, probabilities, per_frame, times, found, list(labels), start=0.0, end=end
    )


def text(pieces):
    return "".join(pieces)


def test_jsonl_has_a_record_an_input():
    lines = text(writers.jsonl([recognition("ünï.mp4"), BAD])).splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["ünï.mp4", "bad.mp4"]
    assert json.loads(lines[0]) == recognition("ünï.mp4").to_json()
    assert json.loads(lines[1]) == BAD.to_json()


def test_csv_has_a_row_a_segment():
    odd = recognition('a,"b"\n.mp4')
    rows = list(csv.DictReader(io.StringIO(text(writers.csv([odd, BAD, recognition()])))))
    assert [r["path"] for r in rows] == ['a,"b"\n.mp4'] * 2 + ["clip.mp4"] * 2
    assert rows[0] == {
        "path": 'a,"b"\n.mp4', "start": "0.000", "end": "1.500", "label": "pan left", "score": "0.8750"
    }  # fmt: skip


def test_subtitles_of_a_clip():
    assert writers.srt(recognition()) == (
        "1\n00:00:00,000 --> 00:00:01,500\npan left (88%)\n\n2\n00:00:01,500 --> 00:00:04,000\nzoom (88%)\n"
    )
    assert writers.vtt(recognition()) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\npan left (88%)\n"
        "\n00:00:01.500 --> 00:00:04.000\nzoom (88%)\n"
    )
    assert writers.srt(recognition(spans=[])) == ""
    assert writers.vtt(recognition(spans=[])) == "WEBVTT\n"


def test_subtitles_run_past_a_hundred_hours():
    found = recognition(spans=[(0, 359_999.9996, "zoom"), (359_999.9996, 400_000.25, "rest")])
    assert "100:00:00,000 --> 111:06:40,250" in writers.srt(found)


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_a_label_cannot_break_a_subtitle(form):
    label = "a --> b\n\n<i>x</i> & {\\an8}\x1b[2J"
    found = recognition(spans=[(0, 1, label), (1, 2, "zoom")], labels=[label, "zoom"])
    body = getattr(writers, form)(found)
    assert body.count("-->") == 2
    assert not re.search(r"<[a-z/]", body)
    assert "\x1b" not in body
    assert len(body.strip().split("\n\n")) == (2 if form == "srt" else 3)
    if form == "srt":
        assert "{\\" not in body
    else:
        assert "a --&gt; b &lt;i&gt;x&lt;/i&gt; &amp;" in body


@given(st.lists(st.floats(0, 500_000), min_size=2, max_size=12))
def test_time_codes_always_go_forward(edges):
    edges = sorted(edges)
    spans = [(a, b, LABELS[i % 3]) for i, (a, b) in enumerate(pairwise(edges))]
    code = r"(\d{2,}):(\d\d):(\d\d),(\d{3})"
    last = 0
    for line in re.findall(f"{code} --> {code}", writers.srt(recognition(spans=spans))):
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, line)
        start = ((h1 * 60 + m1) * 60 + s1) * 1000 + ms1
        end = ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        assert last <= start < end
        assert max(m1, s1, m2, s2) < 60
        last = end


def test_the_plain_table_is_lines_of_text():
    shown = text(writers.table([recognition("a\x1b[31m.mp4"), BAD]))
    assert shown.splitlines() == [
        "a\\x1b[31m.mp4  pan left 90%",
        "  0:00.0 - 0:01.5  pan left   88%",
        "  0:01.5 - 0:04.0  zoom       88%",
        "bad.mp4  bad.mp4 is not a video.",
    ]


def test_the_coloured_table_shows_the_same_words():
    coloured = text(writers.table([recognition("x" * 300), BAD], colour=True))
    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert re.sub(" *━+", "", bare) == text(writers.table([recognition("x" * 300), BAD]))


def test_results_stream_as_they_come():
    stream = io.StringIO()

    def results():
        yield recognition("one.mp4")
        assert "one.mp4" in stream.getvalue()
        yield BAD

    written = writers.write(results(), "jsonl", stream=stream)
    assert (written.done, written.failed, written.files) == (1, 1, [])


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, form):
    out = tmp_path / "results.txt"

    def broken():
        yield recognition()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        writers.write(broken(), form, out=out)
    assert list(tmp_path.iterdir()) == []
    assert writers.write([recognition()], form, out=out).files == [out]
    assert out.read_text() == text(getattr(writers, form)([recognition()]))


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    odd = recognition("odd\udcff.mp4")
    writers.write([odd], "jsonl", out=tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text())["path"] == "odd\udcff.mp4"
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    writers.write([odd], "table", stream=narrow)


def test_subtitles_of_several_inputs_go_into_a_folder(tmp_path):
    results = [recognition("a/clip.mp4"), BAD, recognition("b/clip.mp4"), recognition("http://x/y.mp4?z=1.2")]
    written = writers.write(results, "srt", out=tmp_path / "subs", several=True)
    names = ["clip.srt", "clip-2.srt", "y.srt"]
    assert written.files == [tmp_path / "subs" / name for name in names]
    assert sorted(names) == sorted(p.name for p in (tmp_path / "subs").iterdir())
    assert (written.done, written.failed) == (3, 1)


def test_subtitles_of_one_input_go_to_the_stream_or_the_file(tmp_path):
    stream = io.StringIO()
    writers.write([recognition()], "vtt", stream=stream)
    assert stream.getvalue() == writers.vtt(recognition())
    writers.write([recognition()], "vtt", out=tmp_path / "x.vtt")
    assert (tmp_path / "x.vtt").read_text() == writers.vtt(recognition())
    written = writers.write([recognition()], "srt", out=tmp_path)
    assert written.files == [tmp_path / "clip.srt"]


def test_wrong_calls_are_refused_before_any_work(tmp_path):
    def never():
        raise AssertionError("no input may be read")
        yield

    (tmp_path / "file.srt").touch()
    with pytest.raises(LrcnError, match="--out FOLDER"):
        writers.write(never(), "srt", several=True)
    with pytest.raises(LrcnError, match="need a folder"):
        writers.write(never(), "vtt", out=tmp_path / "file.srt", several=True)
    with pytest.raises(LrcnError, match="table, jsonl, csv, srt, vtt"):
        writers.write(never(), "xml")


def test_an_annotated_video_has_a_name_of_its_own(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with pytest.raises(LrcnError, match="is the video itself"):
        writers.save_annotated(clip, recognition(str(clip)), tmp_path / "." / "clip.mp4")
    with pytest.raises(LrcnError, match=r"not out\.gif"):
        writers.save_annotated(clip, recognition(str(clip)), tmp_path / "out.gif")
