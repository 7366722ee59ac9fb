"""The demo: films whose truth is right, media that may ship, and a report made of what was computed."""

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from made_shots import tiny_describer
from made_words import tiny_captioner, tiny_finder

from lrcn.data.moves import MOVES, MoveStyle, draw_path
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.data.video import open_video
from lrcn.demo import demo
from lrcn.demo_film import BUNNY_SHOT, PHOTO_SHOTS, camera_path, film, write_clip
from lrcn.errors import LrcnError
from lrcn.evaluate.global_motion import sure_moments, track, track_frames
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.shot_describer_folder import save_shot_describer

ASSETS = Path(str(files("lrcn") / "assets"))
RATE = 10


@pytest.fixture(scope="module")
def films():
    """The demo's two films at the rate the models read."""
    return film(PHOTO_SHOTS, RATE), film([BUNNY_SHOT], RATE)


def model_folder(folder, unit, labels=MOVES):
    torch.manual_seed(0)
    encoder = EncoderConfig(name="test_efficientnet", weights="none", pool="grid", squeeze=4, grid=2)
    config = RecognizerConfig(encoder, ReadingConfig(features=8), RecurrentConfig(unit=unit, size=8))
    save_model(folder, Recognizer(config, list(labels)), Preprocess(size=32), Sampling(rate=RATE))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(path of the report, lines for the terminal) of one demo."""
    folder = tmp_path_factory.mktemp("demo")
    lines = []
    models = model_folder(folder / "lstm", "lstm"), model_folder(folder / "none", "none")
    save_shot_describer(folder / "describer", tiny_describer())
    words = tiny_captioner(folder / "captioner"), tiny_finder(folder / "finder")
    given = {"models": models, "describer": folder / "describer", "words": words, "device": "cpu"}
    return demo(folder / "out", lines.append, **given), lines


def test_the_films_show_every_move(films):
    (_, photos), _ = films
    assert set(photos.labels) == set(MOVES)


def test_the_truth_is_what_an_independent_judge_measures(films):
    for frames, truth in films:
        pictures = zip(frames.transpose(0, 2, 3, 1), truth.times, strict=True)
        moments = [m for m in sure_moments(track_frames(pictures, RATE)) if m.label is not None]
        # The judge looks back over 1.6 s; where the truth changed within them, either may be said.
        for moment in moments:
            within = (truth.times > moment.time - 1.6) & (truth.times <= moment.time + 1e-6)
            assert moment.label in {truth.labels[n] for n in np.flatnonzero(within)}
        assert len(moments) >= 5


def test_the_film_under_the_laid_over_camera_stands_still():
    motion = track(ASSETS / "media" / BUNNY_SHOT.media)
    late = motion.times > BUNNY_SHOT.start
    assert np.abs(motion.dx[late]).max() < 0.01
    assert np.abs(motion.dy[late]).max() < 0.01


@pytest.mark.parametrize("move", MOVES)
def test_a_move_goes_the_way_the_training_clips_go(move):
    drawn = draw_path(MoveStyle(shake=0, cross=0, frames=20), MOVES.index(move), np.random.default_rng(0))
    own = camera_path([(move, 2.0)], RATE)
    assert (own.labels == MOVES.index(move)).all()
    for path in (drawn, own):
        assert np.allclose(path.poses[0], np.eye(3)[:2])
    changes = [path.poses[-1] - path.poses[0] for path in (drawn, own)]
    signs = [np.sign(np.where(np.abs(change) < 1e-9, 0, change)) for change in changes]
    assert (signs[0] == signs[1]).all()


def test_moves_flow_into_each_other():
    path = camera_path([("pan right", 1.0), ("tilt up", 1.0)], 30)
    speeds = np.diff(path.poses[:, :, 2], axis=0)
    assert np.abs(np.diff(speeds, axis=0)).max() < 0.5 * np.abs(speeds).max()
    assert path.labels.tolist() == [2] * 31 + [3] * 29


def test_the_films_are_the_same_each_time(films):
    again, _ = film(PHOTO_SHOTS[:1], RATE)
    assert (films[0][0][: len(again)] == again).all()


def test_a_written_clip_has_its_frames_and_rate(tmp_path, films):
    frames = films[1][0][:12]
    write_clip(tmp_path / "a.mp4", frames, RATE)
    with open_video(tmp_path / "a.mp4") as video:
        shown = list(video.frames())
    assert [round(t * RATE) for _, t in shown] == list(range(12))
    assert np.abs(shown[5][0].transpose(2, 0, 1).astype(int) - frames[5]).mean() < 4


def test_every_medium_is_small_and_named_with_its_terms():
    notice = (ASSETS / "NOTICE.md").read_text(encoding="utf-8")
    media = sorted((ASSETS / "media").iterdir())
    assert {shot.media for shot in (*PHOTO_SHOTS, BUNNY_SHOT)} == {path.name for path in media}
    for path in media:
        row = next(line for line in notice.splitlines() if f"`media/{path.name}`" in line)
        assert "CC" in row or "public domain" in row
        assert path.stat().st_size <= (60_000 if path.suffix == ".jpg" else 250_000)


def test_the_report_is_one_small_file_that_fetches_nothing(made):
    path, _ = made
    text = path.read_text(encoding="utf-8")
    assert path.name == "report.html"
    assert path.stat().st_size < 6_000_000
    assert text.count('src="data:video/mp4;base64,') == 3
    assert not re.search(r"""(src|poster)=["']?(https?:|//)""", text)
    assert not re.search(r"<link[^>]*https?:|@import|fetch\(|XMLHttpRequest|<iframe", text)


def test_the_reports_accuracy_is_that_of_its_numbers(made):
    text = made[0].read_text(encoding="utf-8")
    right, of = np.zeros(2, int), 0
    for found in re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL):
        truth, *rows = json.loads(found)["rows"]
        if truth["name"] != "Truth":
            continue
        times = np.array(rows[0]["times"])
        said = np.array(truth["best"])[np.searchsorted(truth["times"], times + 1e-3, side="right") - 1]
        right += [(np.array(row["best"]) == said).sum() for row in rows]
        of += len(times)
    assert f"Of the {of} frames" in text
    shown = re.findall(r"<b>(\d+) %</b>", text)[:2]
    assert [int(s) for s in shown] == [round(100 * r / of) for r in right]


def test_the_terminal_hears_what_was_found_and_where_the_report_is(made):
    path, lines = made
    assert str(path.resolve()) in lines[-1]
    told = "\n".join(lines)
    assert "frames right" in told
    assert re.search(r"0:00\.0 - \d:\d\d\.\d  \w+", told)


def test_the_films_stand_in_the_report_as_shot_lists(made):
    path, lines = made
    page = path.read_text()
    section = page.split('<section id="shots"')[1].split("</section>")[0]
    assert section.count('<ol class="shots">') == 2 and section.count("data:image/jpeg") == 5
    # The photos are cut where their film was cut.
    for edges in ("0:00.0 - 0:03.2", "0:03.2 - 0:07.0", "0:07.0 - 0:11.0", "0:11.0 - 0:15.8"):
        assert edges in section and any(edges in line for line in lines)
    assert any("4 shots in" in line for line in lines)


def test_the_pictures_stand_in_the_report_in_words(made):
    path, lines = made
    section = path.read_text().split('<section id="words"')[1].split("</section>")[0]
    assert section.count("<figcaption>") == 11
    assert sum("finds" in line for line in lines) == 5


def test_the_credits_stand_in_the_report(made):
    text = made[0].read_text(encoding="utf-8")
    for name in ("Blender Foundation", "CC BY 3.0", "NASA", "SpaceX", "Rachel Michetti", "van der Walt"):
        assert name in text


def test_models_of_different_tasks_are_refused(tmp_path):
    one = model_folder(tmp_path / "one", "none")
    other = model_folder(tmp_path / "other", "none", ["cat", "dog"])
    with pytest.raises(LrcnError, match="different labels"):
        demo(tmp_path / "out", print, models=(one, other), device="cpu")
    assert not (tmp_path / "out").exists()
