"""Streams of a real RTSP server, which comes and goes."""

import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from itertools import islice, pairwise

import numpy as np
import pytest
from made_video import make_video

from lrcn.data.picture import Resize
from lrcn.live import Found, Frame, LiveSource, Lost

# Debian's own Python, for which GStreamer's bindings are packaged.
PYTHON = "/usr/bin/python3"

SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
if sys.argv[1:]:
    server = GstRtspServer.RTSPServer(service=sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    film = f"( filesrc location={sys.argv[2]} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    factory.set_launch(film)
    server.get_mount_points().add_factory("/film", factory)
    server.attach(None)
    GLib.MainLoop().run()
assert all(map(Gst.ElementFactory.find, ("qtdemux", "h264parse", "rtph264pay")))
"""


@pytest.fixture(scope="module", autouse=True)
def gstreamer():
    with suppress(OSError):
        if subprocess.run([PYTHON, "-c", SERVER], capture_output=True, check=False).returncode == 0:
            return
    pytest.skip(
        "needs GStreamer's server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good "
        "gstreamer1.0-plugins-bad"
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Thirty seconds that grow brighter."""
    pictures = [np.full((48, 64, 3), n % 250, np.uint8) for n in range(30 * 25)]
    path = tmp_path_factory.mktemp("rtsp") / "film.mp4"
    return make_video(path, len(pictures), codec="libx264", rate=25, size=(64, 48), pictures=pictures)


@pytest.fixture
def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serving(port, film):
    """The server, until it is left or killed."""
    with subprocess.Popen([PYTHON, "-c", SERVER, str(port), str(film)]) as process:
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def test_frames_come_with_the_times_of_the_stream(port, film):
    address = f"rtsp://127.0.0.1:{port}/film"
    with serving(port, film), LiveSource(address, resize=Resize(32), policy="all") as source:
        assert source.live
        frames = list(islice(source, 40))
    assert all(isinstance(one, Frame) and one.picture.shape == (32, 32, 3) for one in frames)
    # In frames of the film: its own clock counts, also where the server left some out at the start.
    steps = 25 * np.array([after.time - before.time for before, after in pairwise(frames)])
    assert np.median(steps) == pytest.approx(1, abs=0.05) and np.allclose(steps, steps.round(), atol=0.05)
    levels = [float(one.picture.mean()) for one in frames]
    assert np.all(np.diff(levels) > -1) and levels[-1] > levels[0] + 30


def test_a_server_that_went_away_is_found_again(port, film):
    with (
        serving(port, film) as server,
        LiveSource(f"rtsp://127.0.0.1:{port}/film", waits=(0.2, 0.5)) as source,
    ):
        came = iter(source)
        before = next(came)
        server.kill()
        lost = next(one for one in came if isinstance(one, Lost))
        with serving(port, film):
            found = next(one for one in came if isinstance(one, Found))
            after = next(one for one in came if isinstance(one, Frame))
    assert before.time <= lost.time <= found.time <= after.time
    assert source.reconnects == 1 and found.attempts >= 1
