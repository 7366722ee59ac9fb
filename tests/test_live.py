"""Live sources: nothing is lost uncounted, films wait and cameras do not, and what breaks off is opened again."""

import http.server
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice, repeat
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from made_video import make_video, number_of

from lrcn.data.picture import Resize
from lrcn.data.video import VideoError
from lrcn.live import MOST_WAITING, Found, Frame, LiveSource, Lost, Pace

FAST = (0.01, 0.04)


class Camera:
    """A camera that gives so many frames, then breaks off; it waits a little between them, or for `go`."""

    warning = None

    def __init__(self, count, apart=0.0, start=0.0):
        self.info = SimpleNamespace(duration=None, rate=25.0)
        self.count, self.apart, self.start = count, apart, start
        self.closed = False

    def frames(self):
        for number in range(self.count):
            time.sleep(self.apart)
            yield np.full((4, 4, 3), number, np.uint8), self.start + number / 25

    def close(self):
        self.closed = True


def opener(*readers):
    """Opens these one after the other, and the last again and again; one that is an error is raised."""
    ahead = chain(readers, repeat(readers[-1]))
    opened = []

    def opens(source, resize=None):
        opened.append(time.monotonic())
        reader = next(ahead)
        if isinstance(reader, Exception):
            raise reader
        return reader

    opens.times = opened
    return opens


def frames_of(source, seconds=0.0):
    """All frames of a source whose user takes so long for each."""
    found = []
    for one in source:
        if isinstance(one, Frame):
            found.append(one)
            time.sleep(seconds)
    return found


GONE = VideoError("Camera 0 cannot be opened.")


def test_a_film_waits_for_who_watches_it(tmp_path):
    path = make_video(tmp_path / "film.mp4", 20)
    with LiveSource(str(path), resize=Resize(32)) as source:
        found = frames_of(source, 0.005)
    assert not source.live
    assert source.policy == "all"
    assert source.dropped == 0
    assert [number_of(one.picture) for one in found] == list(range(20))
    assert [one.time for one in found] == pytest.approx([k / 25 for k in range(20)])


def test_at_its_own_speed_a_film_takes_its_time(tmp_path):
    path = make_video(tmp_path / "film.mp4", 10)
    with LiveSource(str(path), realtime=True) as source:
        found = frames_of(source)
    arrived = [one.arrived - found[0].arrived for one in found]
    assert all(late >= k / 25 - 0.01 for k, late in enumerate(arrived))


def test_at_its_own_speed_a_film_may_also_leave_frames_out(tmp_path):
    path = make_video(tmp_path / "film.mp4", 20)
    with LiveSource(str(path), realtime=True, policy="latest") as source:
        found = frames_of(source, 0.1)
    assert source.dropped > 0
    assert len(found) + source.dropped == 20
    assert found[-1].time == pytest.approx(19 / 25)


def test_a_camera_gives_the_latest_frame_and_counts_the_others():
    with LiveSource(0, opens=opener(Camera(50, 0.002), GONE), retries=1, waits=FAST) as source:
        found = []
        with pytest.raises(VideoError):
            for one in source:
                if isinstance(one, Frame):
                    found.append(int(one.picture[0, 0, 0]))
                    time.sleep(0.02)
    assert source.live
    assert found == sorted(found)
    assert found[-1] == 49
    assert source.dropped == 50 - len(found) > 0


def test_a_cameras_frames_may_wait_for_a_while():
    many = MOST_WAITING + 10
    with LiveSource(0, policy="all", opens=opener(Camera(many), GONE), retries=1, waits=FAST) as source:
        while source.dropped < 10:
            time.sleep(0.005)
        with pytest.raises(VideoError):
            frames_of(source)
    assert source.dropped == 10


def test_what_breaks_off_is_opened_again_later_and_later():
    opens = opener(Camera(3), GONE, GONE, GONE, GONE, Camera(2), GONE)
    events = []
    with LiveSource(0, policy="all", opens=opens, retries=5, waits=FAST) as source:
        for one in source:
            if one is not None:
                events.append(one)
            if len(events) == 8:
                break
    kinds = "".join(type(one).__name__[0] for one in events)
    assert kinds == "FFFLFFFL"
    lost, found = events[3], events[4]
    assert isinstance(lost, Lost)
    assert lost.reason == "The stream ended."
    assert isinstance(found, Found)
    assert found.attempts == 5
    between = np.diff(opens.times[1:6])
    assert all(gap >= least for gap, least in zip(between, [0.02, 0.04, 0.04, 0.04], strict=True))
    times = [one.time for one in events if isinstance(one, Frame)]
    assert times == sorted(set(times))
    # The clock went on while the camera was away.
    assert times[3] - times[2] >= found.seconds - 0.01 >= 0.1
    assert source.reconnects >= 1


def test_what_does_not_come_back_is_given_up_in_one_sentence():
    with (
        LiveSource(0, opens=opener(Camera(1), GONE), retries=2, waits=FAST) as source,
        pytest.raises(VideoError, match="2 attempts did not bring it back: Camera 0 cannot be opened"),
    ):
        frames_of(source)


def test_what_cannot_be_opened_at_first_is_told_at_once(tmp_path):
    with pytest.raises(VideoError, match="There is no video"):
        LiveSource(str(tmp_path / "none.mp4"))


def test_a_network_streams_own_clock_counts_until_it_is_far_off():
    class Stream(Camera):
        def frames(self):
            for number, at in enumerate([3.0, 3.04, 3.08, 900.0, 900.04]):
                yield np.full((4, 4, 3), number, np.uint8), at

    opens = opener(Stream(0), GONE)
    with LiveSource("rtsp://door", policy="all", opens=opens, retries=1, waits=FAST) as source:
        times = []
        with pytest.raises(VideoError):
            for one in source:
                times += [one.time] if isinstance(one, Frame) else []
    assert np.diff(times)[[0, 1, 3]] == pytest.approx(0.04, abs=1e-6)
    assert 0 < times[3] - times[2] < 1


def test_nothing_is_told_to_have_been_before_the_frames_that_it_came_after():
    # A network's stream, whose frames of two seconds come at once.
    opens = opener(Camera(50), Camera(1))
    with LiveSource("rtsp://door", policy="all", opens=opens, waits=FAST) as source:
        told = list(islice((one for one in source if one is not None), 53))
    assert [type(one) for one in told[-4:]] == [Frame, Lost, Found, Frame]
    times = [one.time for one in told]
    assert times == sorted(times) and times[50] == times[49] > 1.9


def test_who_has_seen_enough_leaves_and_no_thread_stays(tmp_path):
    path = make_video(tmp_path / "film.mp4", 40)
    camera = Camera(10_000, 0.001)
    for source in (LiveSource(str(path)), LiveSource(0, opens=opener(camera))):
        with source:
            next(iter(source))
        assert not source._thread.is_alive()
    assert camera.closed


@contextmanager
def served(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class MotionJpeg(Quiet):
    """A camera on the network: eight pictures, 20 ms apart, then it hangs up."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for number in range(8):
            _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))
            part = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(part.encode() + jpeg.tobytes() + b"\r\n")
            self.wfile.flush()
            time.sleep(0.02)


def test_a_film_at_an_address_is_a_film(tmp_path):
    make_video(tmp_path / "film.mp4", 12)
    with (
        served(partial(Quiet, directory=str(tmp_path))) as address,
        LiveSource(f"{address}/film.mp4") as source,
    ):
        assert not source.live
        assert len(frames_of(source)) == 12


def test_a_camera_at_an_address_is_read_again_when_it_hangs_up():
    with served(MotionJpeg) as address, LiveSource(f"{address}/live", policy="all", waits=FAST) as source:
        assert source.live
        kinds, times = "", []
        for one in source:
            if one is None:
                continue
            kinds += type(one).__name__[0]
            times += [one.time] if isinstance(one, Frame) else []
            if kinds.count("L") == 2:
                break
    assert kinds.count("F") >= 10
    assert "LF" in kinds
    assert times == sorted(set(times))


def test_pace_counts_the_last_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lrcn.live.clock.monotonic", lambda: now[0])
    pace = Pace(seconds=2.0)
    assert pace.rates() == (0.0, 0.0)
    assert pace.latency() == 0.0
    for k in range(100):
        now[0] += 0.1
        pace.tell(now[0] - 0.01 * (k % 2 + 1), steps=k % 2)
    frames, steps = pace.rates()
    assert frames == pytest.approx(10, rel=0.1)
    assert steps == pytest.approx(5, rel=0.1)
    assert pace.latency() == pytest.approx(0.015)
    assert pace.latency(1.0) == pytest.approx(0.02)
