"""Shot lists: films with cuts, without, of one frame and of a thousand shots; and all that is written of them."""

import base64
import csv
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shots import cut_film, tiny_describer
from made_video import make_video

from lrcn.cli import main
from lrcn.cuts import CutDetector
from lrcn.data.manifest import Row
from lrcn.data.moves import MOVES
from lrcn.data.sampling import Sampling
from lrcn.data.video import open_video
from lrcn.errors import LrcnError
from lrcn.generate import Decoding
from lrcn.models.shot_describer_folder import save_shot_describer
from lrcn.predict import Failure
from lrcn.predict_descriptions import Description, Shot, describe, describe_many
from lrcn.segments import Segment
from lrcn.shot_list import csv_rows, cues, shot_page, table
from lrcn.shots import KeyFrames, describe_shots, seen_shots, thumbnail

RATE = 25.0


@pytest.fixture(scope="module")
def loaded():
    return tiny_describer()


def edges(shots):
    return [(round(shot.start, 3), round(shot.end, 3)) for shot in shots]


def test_the_made_films_have_the_cuts_they_are_made_with():
    cuts = CutDetector()
    film = cut_film([20, 30, 15])
    assert [n for n, frame in enumerate(film) if cuts.push(frame)] == [20, 50]


def test_a_film_is_cut_where_it_was_cut(loaded):
    found = describe_shots(loaded, cut_film([20, 30, 15]), best=2)
    assert edges(found.shots) == [(0, 0.8), (0.8, 2.0), (2.0, 2.6)]
    assert found.path == "frames" and found.warning is None
    for shot in found.shots:
        assert shot.move in MOVES and shot.sentence and len(shot.others) == 1
        assert (shot.moves[0].start, shot.moves[-1].end) == (shot.start, shot.end)
        picture = cv2.imdecode(np.frombuffer(shot.thumbnail, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (240, 240, 3)
    assert all(shot.thumbnail is None for shot in loaded.describe(cut_film([9]), thumbnails=False).shots)


def test_a_shot_is_described_as_if_it_were_alone(loaded):
    film = cut_film([20, 30, 15])
    together = describe_shots(loaded, film).shots
    for shot, first, last in zip(together, (0, 20, 50), (20, 50, 65), strict=True):
        (alone,) = describe_shots(loaded, film[first:last]).shots
        assert (alone.sentence, alone.move, alone.thumbnail) == (shot.sentence, shot.move, shot.thumbnail)
        assert alone.log_prob == pytest.approx(shot.log_prob, abs=1e-4)
        assert [m.label for m in alone.moves] == [m.label for m in shot.moves]


def test_frames_are_watched_ten_times_a_second_from_the_shots_beginning(loaded, monkeypatch):
    pushed = []
    monkeypatch.setattr(KeyFrames, "push", lambda self, frame: pushed.append(frame) or _push(self, frame))
    film = cut_film([20, 30])
    (first, second) = describe_shots(loaded, film).shots
    # 0.8 s and 1.2 s; at every tenth, the frame that is shown then.
    assert len(pushed) == 8 + 12
    resize = loaded.preprocess.resize
    expected = [resize(film[n]) for start, end in ((0, 20), (20, 50)) for n in grid(start, end)]
    assert all((one == other).all() for one, other in zip(pushed, expected, strict=True))
    assert (first.end, second.start) == (0.8, 0.8)


_push = KeyFrames.push


def grid(first, last):
    count = int(np.ceil((last - first) / RATE * 10 - 1e-6))
    return [first + int(np.floor(k / 10 * RATE + 1e-6)) for k in range(count)]


@settings(max_examples=30)
@given(count=st.integers(1, 300), frames=st.integers(1, 4), most=st.sampled_from([4, 16, 64]))
def test_key_frames_are_spread_evenly_and_few_are_kept(count, frames, most):
    kept = KeyFrames(most)
    for number in range(count):
        kept.push(np.full((1, 1, 3), number % 256, np.uint8) + np.uint8(0))
        assert len(kept._kept) <= most
    wanted = Sampling(frames=frames, spread="uniform").pick(count)
    found = kept.chosen(frames)[:, 0, 0, 0].astype(int)
    off = np.abs((found - wanted + 128) % 256 - 128)
    assert (off <= (0 if count <= most else 2 * count / most)).all()


def test_a_flash_is_no_shot_and_a_thousand_cuts_are_no_trouble(loaded):
    film = cut_film([20, 1, 20])
    assert edges(describe_shots(loaded, film).shots) == [(0, 0.8), (0.8, 1.64)]
    strobe = cut_film([1] * 120)
    found = describe_shots(loaded, strobe, shortest=0.5, decoding=Decoding(max_length=3), thumbnails=False)
    assert 5 <= len(found.shots) <= 10
    assert all(shot.end - shot.start >= 0.5 for shot in found.shots[:-1])
    every = describe_shots(
        loaded, strobe[:30], shortest=0.0, decoding=Decoding(max_length=2), thumbnails=False
    )
    assert len(every.shots) > 20


def test_a_film_without_cuts_and_one_of_a_single_frame(loaded):
    (shot,) = describe_shots(loaded, cut_film([40])).shots
    assert (shot.start, shot.end) == (0, 1.6)
    (shot,) = describe_shots(loaded, cut_film([1])).shots
    assert (shot.start, shot.end) == (0, 0.04) and len(shot.moves) == 1
    (shot,) = describe_shots(loaded, cut_film([5]), end=0.0004).shots
    assert shot.end == 0.0004 and shot.move in MOVES


def test_a_model_that_watches_nothing_says_no_moves():
    found = tiny_describer(pooled=True).describe(cut_film([15, 15]))
    assert [(shot.move, shot.moves) for shot in found.shots] == [(None, ()), (None, ())]
    assert "move" not in found.to_json()["shots"][0]


def test_a_part_of_a_film(loaded, tmp_path):
    path = make_video(tmp_path / "a.mp4", pictures=list(cut_film([25, 25, 25])), count=75, size=(48, 48))
    row = Row(str(path), start=0.4, end=2.4, id="one")
    for source, options in ((str(path), {"start": 0.4, "end": 2.4}), (row, {})):
        found = describe(loaded, source, **options)
        assert edges(found.shots) == [(0.4, 1.0), (1.0, 2.0), (2.0, 2.4)]
    assert found.id == "one"
    with pytest.raises(LrcnError, match="has no frames from 9 s on"):
        describe_shots(loaded, path, start=9.0)


def test_memory_holds_one_shot_however_long_the_film(loaded):
    with open_video(cut_film([30] * 4)) as reader:
        shots = seen_shots(loaded, reader)
        first = next(shots)
        assert first.frames.shape == (2, 48, 48, 3) and first.seen.sum() == pytest.approx(1, abs=1e-5)
        assert len(list(shots)) == 3


def test_damaged_films_tell_what_is_left(loaded, tmp_path):
    whole = make_video(
        tmp_path / "whole.avi", pictures=list(cut_film([30, 30])), count=60, size=(48, 48), gop=10
    )
    data = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "none.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(b"no film" * 99)
    names = ["cut.avi", "none.mp4", "noise.mp4", "missing.mp4"]
    cut, *others = describe_many(loaded, [str(tmp_path / name) for name in names])
    assert isinstance(cut, Description) and cut.shots and cut.shots[-1].end < 2.4
    assert all(isinstance(one, Failure) and one.error for one in others)


def test_options_that_do_not_suit_are_told(loaded):
    film = cut_film([5])
    with pytest.raises(LrcnError, match="recogniser of its own"):
        describe_shots(loaded, film, recognizers=[loaded])
    with pytest.raises(LrcnError, match="3 sentences are asked for, and 2 are kept"):
        describe_shots(loaded, film, best=3)


def test_a_thumbnail_has_the_films_shape():
    jpeg = thumbnail(np.zeros((32, 32, 3), np.uint8), 1920, 1080)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (135, 240, 3)
    assert len(jpeg) < 4000


# ---- what is written ----

SHOTS = (
    Shot(
        "A <dog>.",
        -1.0,
        0.0,
        1.5,
        move="pan left",
        moves=(Segment(0.0, 1.5, "pan left", 0.9),),
        thumbnail=b"jpeg",
    ),
    Shot(
        "Snow.",
        -2.0,
        1.5,
        4.0,
        (("Ice.", -3.0),),
        "static",
        (Segment(1.5, 3.0, "static", 0.8), Segment(3.0, 4.0, "zoom in", 0.7)),
    ),
)
LIST = Description("films/a.mp4", SHOTS)


def test_records_leave_pictures_out_unless_asked():
    record = LIST.to_json()
    first = record["shots"][0]
    assert "thumbnail" not in first and first["move"] == "pan left"
    assert first["moves"] == [{"start": 0.0, "end": 1.5, "label": "pan left", "score": 0.9}]
    assert (
        json.loads(json.dumps(LIST.to_json(thumbnails=True)))["shots"][0]["thumbnail"]
        == base64.b64encode(b"jpeg").decode()
    )
    plain = Shot("A person cuts.", -1.0).to_json()
    assert set(plain) == {"start", "end", "sentence", "log_prob"}


def test_a_table_has_a_line_a_shot():
    assert table(LIST).splitlines() == [
        "films/a.mp4",
        "  0:00.0 - 0:01.5  pan left         A <dog>.",
        "  0:01.5 - 0:04.0  static, zoom in  Snow.",
        "     -3.00  Ice.",
    ]
    labelled = Description("b.mp4", (Shot("A person cuts.", -1.0),), labels={"act": "cut"})
    assert table(labelled) == "b.mp4  A person cuts.  (cut)\n"


def test_csv_and_subtitles():
    rows = list(csv.reader("".join(csv_rows([LIST])).splitlines()))
    assert rows[0] == ["path", "start", "end", "moves", "sentence"]
    assert rows[2] == ["films/a.mp4", "1.500", "4.000", "static, zoom in", "Snow."]
    assert cues(LIST) == [(0.0, 1.5, "A <dog>."), (1.5, 4.0, "Snow.")]
    assert cues(Description("b", (Shot("It.", -1.0, 2.0),))) == [(2.0, 6.0, "It.")]


def test_a_page_is_one_file_that_fetches_nothing():
    page = shot_page([LIST, Description("c.mp4", SHOTS[:1])], "describe-moves")
    assert page.count("data:image/jpeg;base64,") == 2 and "A &lt;dog&gt;." in page
    assert "3 shots" in page and "http" not in page.split("<style>")[1].split("</style>")[1].replace(
        "http-equiv", ""
    )
    assert page.count('class="chip"') == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and a film of two shots, as files."""
    folder = tmp_path_factory.mktemp("describe")
    save_shot_describer(folder / "model", tiny_describer())
    make_video(folder / "film.mp4", pictures=list(cut_film([20, 20])), count=40, size=(48, 48))
    return folder


def test_one_command_writes_all_forms(folder, capsys):
    film, out = str(folder / "film.mp4"), folder / "out"
    out.mkdir()
    command = ["describe", film, "--model", str(folder / "model"), "--device", "cpu"]
    assert main([*command, "--format", "jsonl", "--html", str(out / "page.html")]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["path"] == film and [shot["start"] for shot in record["shots"]] == [0, 0.8]
    assert (out / "page.html").read_text().count("data:image/jpeg") == 2
    assert main([*command, "--format", "csv", "--out", str(out / "shots.csv")]) == 0
    assert len((out / "shots.csv").read_text().splitlines()) == 3
    assert main([*command, "--format", "srt", "--end", "0.5"]) == 0
    assert capsys.readouterr().out.startswith("1\n00:00:00,000 --> 00:00:00,500\n")
    many = ["describe", str(folder / "missing.mp4"), *command[1:], "--format", "vtt"]
    assert main([*many, "--out", str(out / "subtitles")]) == 1
    assert (out / "subtitles" / "film.vtt").read_text().startswith("WEBVTT")
    capsys.readouterr()
    assert main(many) == 2
    assert "one file per input" in capsys.readouterr().err
