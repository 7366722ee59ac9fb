"""Reading at a rate, in the background, and from what is not a file."""

import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_video import make_video, number_of, numbered, numbers_of

from lrcn.data import picture, source, video
from lrcn.data.resample import shown_at
from lrcn.data.video import Clip, Resize, VideoError, list_media, open_video, read_clip


def array_of(count):
    return np.stack([numbered(n) for n in range(count)])


# Rates


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 400), min_size=1, max_size=30),
    rate=st.floats(0.5, 80),
    start=st.floats(0, 2),
)
def test_the_frame_shown_is_the_last_that_is_not_later(gaps, rate, start):
    ticks = np.cumsum([0, *gaps])
    times = ticks / 1000
    half, lasts = 0.0005, 0.04
    grid = (start + k / rate for k in range(10_000))
    got = list(shown_at(iter(list(zip(ticks.tolist(), times.tolist(), strict=True))), grid, half, lasts))
    for number, (tick, wanted) in enumerate(got):
        assert wanted == start + number / rate
        earlier = times[times <= wanted + half + 1e-12]
        assert tick / 1000 in (earlier[-1], times[times < wanted + half - 1e-12].max(initial=0))
    following = start + len(got) / rate
    assert following >= times[-1] + lasts - half - 1e-9
    assert not got or got[-1][1] < times[-1] + lasts


def test_a_frame_is_given_out_as_soon_as_it_is_shown():
    taken = []

    def frames():
        for n in range(10):
            taken.append(n)
            yield n, n / 25

    shown = shown_at(frames(), (k / 25 for k in range(100)), 1e-6, 0.04)
    assert next(shown) == (0, 0.0) and taken == [0]
    assert next(shown) == (1, 0.04) and taken == [0, 1]


def test_rates_below_at_and_above_the_source(tmp_path):
    path = make_video(tmp_path / "a.mp4", 20)
    assert numbers_of(read_clip(path, rate=25).frames) == list(range(20))
    assert numbers_of(read_clip(path, rate=12.5).frames) == list(range(0, 20, 2))
    double = read_clip(path, rate=50)
    assert numbers_of(double.frames) == [n for n in range(20) for _ in range(2)]
    assert double.times == pytest.approx(np.arange(40) / 50)
    assert numbers_of(read_clip(path, rate=10).frames) == [0, 2, 5, 7, 10, 12, 15, 17]


def test_spans(tmp_path):
    path = make_video(tmp_path / "a.mp4", 30, gop=10)
    assert numbers_of(read_clip(path, start=0.2, end=0.4).frames) == [5, 6, 7, 8, 9]
    assert numbers_of(read_clip(path, start=1.0).frames) == [25, 26, 27, 28, 29]
    clip = read_clip(path, rate=10, start=0.5, end=0.9)
    assert numbers_of(clip.frames) == [12, 15, 17, 20] and clip.times == pytest.approx([0.5, 0.6, 0.7, 0.8])
    with pytest.raises(VideoError, match=r"No frame lies between 5 s and its end: the video is 1\.20 s long"):
        read_clip(path, start=5)


def test_a_rate_over_variable_times(tmp_path):
    ticks = [300, 310, 500, 520, 900, 1000]
    path = make_video(tmp_path / "a.mkv", 6, ticks=ticks, time_base=Fraction(1, 1000))
    assert numbers_of(read_clip(path, rate=10, end=0.75).frames) == [0, 1, 2, 3, 3, 3, 4, 5]


def test_rounded_clocks_lose_no_frame(tmp_path):
    ticks = [round(n * 1000 / 30) for n in range(40)]
    path = make_video(tmp_path / "a.mkv", 40, rate=30, ticks=ticks, time_base=Fraction(1, 1000))
    assert numbers_of(read_clip(path, rate=30).frames) == list(range(40))
    assert numbers_of(read_clip(path, times=np.arange(40) / 30).frames) == list(range(40))


# The background


def waiting_threads():
    return [thread for thread in threading.enumerate() if thread.name == "lrcn-video"]


def test_the_thread_is_bounded_and_ends_with_its_reader(monkeypatch):
    made = []

    class Counted(source.ArraySource):
        def picture(self, token, resize):
            made.append(token)
            return super().picture(token, resize)

    monkeypatch.setattr(video, "ArraySource", Counted)
    with open_video(array_of(40)) as reader:
        frames = reader.frames()
        assert not waiting_threads()
        next(frames)
        time.sleep(0.1)
        assert len(made) <= 1 + 4 + 1
        began = time.monotonic()
        frames.close()
        assert not waiting_threads() and time.monotonic() - began < 1
        assert [number_of(frame) for frame, _ in reader.frames()] == list(range(40))


def test_errors_reach_the_reader(tmp_path):
    for n in range(4):
        cv2.imwrite(str(tmp_path / f"{n}.png"), numbered(n))
    (tmp_path / "2.png").write_bytes(b"no picture")
    with open_video(tmp_path) as reader:
        frames = reader.frames()
        assert number_of(next(frames)[0]) == 0
        assert number_of(next(frames)[0]) == 1
        with pytest.raises(VideoError, match=r"2\.png"):
            next(frames)
    assert not waiting_threads()


def test_readers_of_one_video_do_not_disturb_each_other(tmp_path):
    with open_video(make_video(tmp_path / "a.mp4", 20), resize=Resize(16)) as reader:
        for n, ((one, _), (other, _)) in enumerate(zip(reader.frames(), reader.frames(), strict=True)):
            assert number_of(one) == number_of(other) == n
            assert numbers_of(reader.at([n / 25]).frames) == [n]


def test_closing_ends_reading(tmp_path):
    reader = open_video(make_video(tmp_path / "a.mp4", 30))
    frames = reader.frames()
    next(frames)
    reader.close()
    with pytest.raises(VideoError, match="closed"):
        list(frames)
    for use in (reader.frames, lambda: reader.at([0])):
        with pytest.raises(VideoError, match="closed"):
            use()


def test_drawing_on_a_frame_spoils_no_other():
    pixels = array_of(3)
    with open_video(pixels) as reader:
        seen = []
        for frame, _ in reader.frames(rate=50):
            seen.append(number_of(frame))
            frame[:] = 0
    assert seen == [0, 0, 1, 1, 2, 2] and np.array_equal(pixels, array_of(3))


# Other sources


def test_arrays_and_folders(tmp_path):
    for n in range(12):
        cv2.imwrite(str(tmp_path / f"f{n}.png"), numbered(n)[..., ::-1])
    for given_source in (array_of(12), tmp_path, str(tmp_path)):
        with open_video(given_source, frame_rate=10) as reader:
            info = reader.info
            assert (info.width, info.height, info.rate, info.frames) == (64, 48, 10, 12)
            assert info.duration == pytest.approx(1.2)
        clip = read_clip(given_source, frame_rate=10)
        assert np.array_equal(clip.frames, array_of(12).transpose(0, 3, 1, 2))
        assert numbers_of(read_clip(given_source, frame_rate=10, times=[0.35, 1.1]).frames) == [3, 11]
        assert numbers_of(read_clip(given_source, frame_rate=10, start=0.3, rate=5).frames) == [
            3,
            5,
            7,
            9,
            11,
        ]
    assert list_media([str(tmp_path)]) == [str(tmp_path)]


def test_folders_that_hold_no_frames_or_too_large_ones(tmp_path, monkeypatch):
    with pytest.raises(VideoError, match="holds no frames"):
        open_video(tmp_path)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    monkeypatch.setattr(picture, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(VideoError, match=r"1\.png has 64x48 pixels"):
        open_video(tmp_path)


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((0, 8, 8, 3), np.uint8)],
)
def test_arrays_that_are_no_video(array):
    with pytest.raises(VideoError, match="give uint8 RGB"):
        open_video(array)


class FakeCamera:
    """Stands for cv2.VideoCapture: numbered frames, BGR, faster than anybody looks at them."""

    last = 40
    made: "FakeCamera"

    def __init__(self, number):
        FakeCamera.made = self
        self.number, self.count, self.released = number, 0, False

    def isOpened(self):
        return self.number == 0

    def grab(self):
        return True

    def read(self):
        if self.count >= self.last:
            return False, None
        self.count += 1
        time.sleep(0.002)
        return True, numbered(self.count - 1)[..., ::-1].copy()

    def get(self, what):
        return {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}.get(what, 0)

    def release(self):
        self.released = True


def test_cameras(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with open_video("0", resize=Resize(16)) as reader:
        assert reader.info.duration is None and reader.info.codec == "camera"
        frames = reader.frames()
        first, began = next(frames)
        assert (number_of(first), began) == (0, 0.0)
        with pytest.raises(VideoError, match="one reader at a time"):
            next(reader.frames())
        with pytest.raises(VideoError, match="use frames"):
            reader.at([0])
        with pytest.raises(VideoError, match="has no end"):
            reader.clip()
        while FakeCamera.made.count < FakeCamera.last:
            time.sleep(0.01)
        time.sleep(0.05)
        # The oldest are lost while nobody looks: what comes next is the newest.
        later = [number_of(frame) for frame, _ in frames]
        assert later[-1] == 39 and len(later) <= 5 and later == sorted(later)
        assert "stopped" in reader.warning


def test_a_camera_that_cannot_be_opened():
    with pytest.raises(VideoError, match="Camera 77 cannot be opened"):
        open_video(77)


def test_torchcodec_gives_the_same_frames(tmp_path):
    pytest.importorskip("torchcodec", reason="torchcodec is not installed")
    path = make_video(tmp_path / "a.mp4", 20)
    ours, theirs = (read_clip(path, resize=Resize(32), backend=name) for name in ("pyav", "torchcodec"))
    assert numbers_of(theirs.frames) == numbers_of(ours.frames)
    assert theirs.times == pytest.approx(ours.times)
    assert np.abs(ours.frames.astype(int) - theirs.frames).mean() < 3


def test_torchcodec_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    with pytest.raises(VideoError, match="lrcn\\[codec\\]"):
        open_video(make_video(tmp_path / "a.mp4", 2), backend="torchcodec")


def test_wrong_values_are_named(tmp_path, monkeypatch):
    with open_video(array_of(3)) as reader:
        for wrong in ({"rate": 0}, {"rate": float("nan")}, {"start": -1}, {"start": 1, "end": 1}):
            with pytest.raises(VideoError, match=str(next(iter(wrong)))):
                reader.frames(**wrong)
        for times in ([1, 0], [float("nan")], [[0, 1]]):
            with pytest.raises(VideoError, match="ascending"):
                reader.at(times)
    with pytest.raises(VideoError, match="backend"):
        open_video(array_of(3), backend="decord")
    with pytest.raises(VideoError, match="frame rate"):
        open_video(array_of(3), frame_rate=0)
    monkeypatch.setattr(video, "MAX_CLIP_BYTES", 64 * 48 * 3 * 2)
    with pytest.raises(VideoError, match="more than 2 frames of 64x48"):
        read_clip(array_of(3))
    assert len(Clip(array_of(2).transpose(0, 3, 1, 2), np.zeros(2))) == 2
