"""Files as they are found: codecs, pixel formats, orientation, colour, damage, jumps."""

import gc
import multiprocessing
import subprocess
import sys
import time
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_video import make_video, number_of, numbers_of

from lrcn.data import decode, picture
from lrcn.data.video import Resize, VideoError, open_video, read_clip

REORDERED = {"bf": "3", "sc_threshold": "0"}
OPEN = {**REORDERED, "x264-params": "open-gop=1"}
HEVC = {"x265-params": "log-level=none:qp=12:keyint=10:min-keyint=10:bframes=3:open-gop=1"}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "stated"),
    [
        ("a.mp4", "libx264", "yuv420p", "h264"),
        ("a.ts", "libx264", "yuv420p", "h264"),
        ("a.h264", "libx264", "yuv420p", "h264"),
        ("a.flv", "libx264", "yuv420p", "h264"),
        ("a.mp4", "libx265", "yuv420p", "hevc"),
        ("a.webm", "libvpx-vp9", "yuv420p", "vp9"),
        ("a.mp4", "libsvtav1", "yuv420p", "av1"),
        ("a.avi", "mpeg4", "yuv420p", "mpeg4"),
        ("a.mpg", "mpeg2video", "yuv420p", "mpeg2video"),
        ("a.avi", "mjpeg", "yuvj420p", "mjpeg"),
        ("a.gif", "gif", "rgb8", "gif"),
        ("a.mkv", "libx264", "yuv420p10le", "h264"),
        ("a.mkv", "libx264", "yuv444p", "h264"),
        ("a.mkv", "ffv1", "gray", "ffv1"),
        ("a.mkv", "ffv1", "yuva420p", "ffv1"),
        ("a.mkv", "ffv1", "bgra", "ffv1"),
    ],
)
def test_codecs_and_pixel_formats(tmp_path, name, codec, pix_fmt, stated):
    path = make_video(tmp_path / name, 20, codec, pix_fmt=pix_fmt)
    with open_video(path) as video:
        assert (video.info.width, video.info.height, video.info.rate, video.info.codec) == (
            64,
            48,
            25,
            stated,
        )
        frames, times = zip(*video.frames(), strict=True)
        assert [number_of(frame) for frame in frames] == list(range(20))
        assert times == pytest.approx(np.arange(20) / 25)
        assert not video.truncated
    small = read_clip(path, resize=Resize(24))
    assert small.frames.shape == (20, 3, 24, 24) and numbers_of(small.frames) == list(range(20))


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (33, 16)])
def test_odd_sizes(tmp_path, size):
    path = make_video(tmp_path / "a.mkv", 5, "ffv1", size=size)
    clip = read_clip(path)
    assert clip.frames.shape == (5, 3, size[1], size[0])
    assert numbers_of(clip.frames) == numbers_of(read_clip(path, resize=Resize(32)).frames) == list(range(5))


def test_one_frame_and_sound(tmp_path):
    assert numbers_of(read_clip(make_video(tmp_path / "one.mp4", 1)).frames) == [0]
    path = make_video(tmp_path / "sound.mp4", 20, audio=True)
    assert numbers_of(read_clip(path).frames) == list(range(20))


def test_times_count_from_the_first_frame_and_vary(tmp_path):
    ticks = [700 + n * n for n in range(20)]
    for name in ("a.mp4", "a.mkv"):
        path = make_video(tmp_path / name, 20, ticks=ticks, time_base=Fraction(1, 1000), options=REORDERED)
        clip = read_clip(path)
        assert clip.times == pytest.approx(np.array(ticks) / 1000 - 0.7, abs=1e-3)
        assert numbers_of(clip.frames) == list(range(20))


# Orientation and colour


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("fit", [None, "squash", "short", "letterbox"])
def test_rotation_is_applied(tmp_path, degrees, fit):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 250
    picture[24:, :32] = 120
    path = make_video(tmp_path / "a.mp4", 2, rotation=degrees, pictures=[picture] * 2)
    resize = None if fit is None else Resize(24, fit)
    with open_video(path, resize=resize) as video:
        frame, _ = next(iter(video.frames()))
        size = (48, 64) if degrees % 180 else (64, 48)
        assert (video.info.width, video.info.height, video.info.rotation) == (*size, degrees)
    upright = np.rot90(picture, degrees // 90)
    expected = upright if resize is None else resize(np.ascontiguousarray(upright))
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 4


def test_rotation_agrees_with_the_angle_pyav_tells(tmp_path):
    corner = np.zeros((48, 64, 3), np.uint8)
    corner[:24, :32] = 250
    path = make_video(tmp_path / "a.mp4", 1, rotation=90, pictures=[corner])
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
    assert np.abs(read_clip(path).frames[0].transpose(1, 2, 0).astype(int) - upright).mean() < 3


@pytest.mark.parametrize("space", [1, 5, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("resize", [None, Resize(16)])
def test_colours_follow_the_stated_matrix_and_range(tmp_path, space, full, resize):
    colours = np.array(
        [[230, 30, 30], [30, 200, 40], [40, 50, 220], [128, 128, 128], [16, 16, 16], [235, 230, 30]]
    )
    pictures = [np.broadcast_to(colour, (48, 64, 3)).astype(np.uint8) for colour in colours]
    path = make_video(
        tmp_path / "a.mkv",
        len(colours),
        "ffv1",
        pix_fmt="yuv420p",
        pictures=pictures,
        colour=(space, 2 if full else 1),
    )
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24")[20, 20] for frame in container.decode(video=0)]
    clip = read_clip(path, resize=resize)
    assert np.abs(clip.frames[:, :, 8, 8].astype(int) - expected).max() <= 3
    if space != 9:
        assert np.abs(clip.frames[:, :, 8, 8].astype(int) - colours).max() <= 4


def test_scaling_before_the_colours_changes_nothing_that_shows(tmp_path):
    path = make_video(tmp_path / "a.mp4", 3)
    small, large = read_clip(path, resize=Resize(24)), read_clip(path)
    for one, other in zip(small.frames, large.frames, strict=True):
        after = Resize(24)(np.ascontiguousarray(other.transpose(1, 2, 0))).transpose(2, 0, 1)
        assert np.abs(one.astype(int) - after).mean() < 2


# Jumps

JUMPING = [
    ("gop.mp4", {"gop": 10, "options": REORDERED}),
    ("open.mp4", {"gop": 12, "options": OPEN}),
    ("open.mkv", {"gop": 12, "options": OPEN}),
    ("long.mp4", {"gop": 1000, "options": REORDERED}),
    (
        "vfr.mp4",
        {
            "gop": 8,
            "options": REORDERED,
            "ticks": [90 + n * (n + 4) for n in range(40)],
            "time_base": Fraction(1, 1000),
        },
    ),
    (
        "vfr.mkv",
        {
            "gop": 8,
            "options": REORDERED,
            "ticks": [90 + n * (n + 4) for n in range(40)],
            "time_base": Fraction(1, 1000),
        },
    ),
    ("parts.mp4", {"gop": 10, "options": REORDERED, "mux_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("open-hevc.mp4", {"codec": "libx265", "gop": 10, "options": HEVC}),
    ("gop.webm", {"codec": "libvpx-vp9", "gop": 10}),
    ("gop-av1.mp4", {"codec": "libsvtav1", "gop": 10}),
    ("gop.avi", {"codec": "mpeg4", "gop": 10}),
    ("reordered.avi", {"gop": 10, "options": REORDERED}),
    ("gop.ts", {"gop": 10, "options": REORDERED}),
]


@pytest.fixture(scope="module")
def jumping(tmp_path_factory):
    """Each file's path and its whole clip, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("jumping"), {}

    def get(name, how):
        if name not in made:
            path = make_video(folder / name, 40, **how)
            made[name] = path, read_clip(path)
        return made[name]

    return get


@pytest.mark.parametrize(("name", "how"), JUMPING, ids=[name for name, _ in JUMPING])
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_jumps_give_the_pixels_of_a_full_decode(jumping, monkeypatch, name, how, data):
    path, whole = jumping(name, how)
    monkeypatch.setattr(decode, "_SEEK_SECONDS", 0.3)
    ends = [*whole.times[1:], whole.times[-1] + 0.04]
    shown = sorted(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)))
    share = data.draw(st.floats(0.2, 0.8))
    times = [whole.times[n] + share * (ends[n] - whole.times[n]) for n in shown]
    clip = read_clip(path, times=times)
    assert np.array_equal(clip.frames, whole.frames[shown])
    assert clip.times.tolist() == times


def test_sparse_times_jump_and_dense_ones_do_not(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", 45, gop=15, options={"bf": "0", "sc_threshold": "0"})
    decoded: list[float] = []
    timed = decode.FileSource._timed

    def counting(self, frames):
        for token, moment in timed(self, frames):
            decoded.append(moment)
            yield token, moment

    monkeypatch.setattr(decode.FileSource, "_timed", counting)
    read_clip(path, times=np.arange(45) / 25)
    assert len(decoded) == 45
    decoded.clear()
    read_clip(path, times=[1.24])
    assert len(decoded) <= 5
    decoded.clear()
    with open_video(path) as video:
        first = next(iter(video.frames(start=1.24)))
        assert number_of(first[0]) == 31


def test_repeated_times_and_times_beyond_the_ends(tmp_path):
    path = make_video(tmp_path / "a.mp4", 10)
    with open_video(path) as video:
        assert numbers_of(video.at([-1, 0, 0, 0.05, 0.05, 7, 8]).frames) == [0, 0, 0, 1, 1, 9, 9]
        assert numbers_of(video.at([0.2]).frames) == [5]
        assert video.at([]).frames.shape == (0, 3, 48, 64)


# Damage


def test_a_cut_off_file_gives_what_decodes_and_says_so(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", 40, gop=5, mux_options={"movflags": "faststart"})
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 7 // 10])
    with open_video(cut) as video:
        numbers = [number_of(frame) for frame, _ in video.frames()]
        assert 10 < len(numbers) < 40 and numbers == list(range(len(numbers)))
        assert video.truncated and str(cut) in video.warning
    assert numbers_of(read_clip(cut, times=[0.2, 1.5]).frames) == [5, numbers[-1]]


def test_damage_in_the_middle_does_not_lose_the_rest(tmp_path):
    path = make_video(tmp_path / "a.mkv", 40, "mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    numbers = numbers_of(read_clip(path).frames)
    assert numbers[:15] == list(range(15)) and numbers[-1] == 39


def refused(source, **options):
    """The one sentence an input is refused with."""
    with pytest.raises(VideoError) as raised:
        open_video(source, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
    return sentence


def test_what_is_no_video_is_refused_in_one_sentence(tmp_path):
    text = "these are words, not pictures\n" * 50
    for name, content in {
        "text.mp4": text,
        "text.txt": text,
        "empty.mp4": "",
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n",
        "list.mp4": "ffconcat version 1.0\nfile text.txt\n",
    }.items():
        (tmp_path / name).write_text(content)
        assert name in refused(tmp_path / name)
    assert "0 bytes" in refused(tmp_path / "empty.mp4")
    assert "no video" in refused(tmp_path / "missing.mp4")
    whole = make_video(tmp_path / "whole.mp4")
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[:3000])
    assert "cut off" in refused(tmp_path / "headless.mp4")


def test_sound_alone_is_refused_also_with_a_cover(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for block in range(5):
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            wave.sample_rate, wave.pts = 16000, block * 1024
            container.mux(stream.encode(wave))
        container.mux(stream.encode())
    assert "only sound" in refused(tmp_path / "song.m4a")


def test_pictures_over_the_limit_are_refused(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(picture, "MAX_PIXELS", 64 * 48 - 1)
    assert "64x48" in refused(path)
    assert "over the limit" in refused(np.zeros((2, 48, 64, 3), np.uint8))


def test_addresses_that_do_not_answer_are_refused_without_their_password():
    for address in ("http://me:secret@127.0.0.1:9/a.mp4", "rtsp://me:secret@127.0.0.1:9/cam"):
        sentence = refused(address)
        assert "127.0.0.1:9" in sentence and "network" in sentence and "secret" not in sentence


def test_a_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "a.mp4", 2).rename("http:x.mp4")
    assert len(read_clip("http:x.mp4")) == 2


def test_ffmpeg_says_nothing_and_torch_is_not_loaded(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", 40, gop=5, mux_options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-900])
    (tmp_path / "text.mp4").write_text("words\n" * 100)
    program = f"""
import sys
from lrcn.data.video import *
assert len(read_clip({str(cut)!r}, resize=Resize(16))) > 10
for bad in ({str(tmp_path / "text.mp4")!r}, 77):
    try: open_video(bad)
    except VideoError: pass
frames = open_video({str(whole)!r}).frames()
next(frames)
assert not [name for name in sys.modules if name.split('.')[0] in ('torch', 'torchvision', 'torchcodec')]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Letting go


def read_one(video):
    return next(video.frames())


def read_far(video):
    return video.at([0.1, 1.2])


def read_twice(video):
    return next(video.frames()), next(video.frames(rate=5))


def keep_reading(video):
    """Two readers that are still at work when the video is closed."""
    readers = video.frames(), video.frames(start=1.0)
    next(readers[0]), next(readers[1])
    return readers


def read_to_the_end(video):
    return list(video.frames())


def assert_decoder_threads(count):
    # A thread that has been joined stands in the kernel's list a moment longer.
    deadline = time.monotonic() + 5
    while decoder_threads() != count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert decoder_threads() == count


@pytest.fixture
def sources(monkeypatch):
    """Weak references to every source that is opened, with the garbage collector switched off."""
    opened = []
    choose = decode.FileSource._choose_stream

    def noting(self):
        choose(self)
        opened.append(weakref.ref(self))

    monkeypatch.setattr(decode.FileSource, "_choose_stream", noting)
    # What earlier tests left must not be collected, or counted, in between.
    gc.collect()
    gc.disable()
    yield opened
    gc.enable()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize(
    "use", [lambda video: video.info, read_one, read_far, read_twice, keep_reading, read_to_the_end]
)
def test_no_reader_and_no_decoder_thread_outlives_its_use(tmp_path, sources, use, closed):
    path = make_video(tmp_path / "a.mp4", 40, gop=10, options=REORDERED)
    threads = decoder_threads()

    def work():
        video = open_video(path)
        assert decode._THREADS == 1 or decoder_threads() > threads
        kept = use(video)
        if closed:
            video.close()
        del kept

    work()
    assert sources and not [source for source in sources if source() is not None]
    assert_decoder_threads(threads)


def test_a_video_that_is_refused_leaves_nothing_behind(tmp_path, sources):
    path = make_video(tmp_path / "a.mp4", 20)
    threads, refusals = decoder_threads(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture, "MAX_PIXELS", 64 * 48 - 1)
        refusals.append(refused(path))
    assert refusals and not [source for source in sources if source() is not None]
    assert_decoder_threads(threads)


def decoder_threads() -> int:
    """Threads of this process, those that Python knows nothing of included."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads can be counted on Linux only")
    return len(list(Path("/proc/self/task").iterdir()))


def count_in_a_loader(path, answers):
    before = decoder_threads()
    with open_video(path) as video:
        answers.put((decoder_threads() - before, len(video.clip())))


def test_loader_processes_decode_without_threads(tmp_path):
    path = make_video(tmp_path / "a.mp4", 20)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    loader = context.Process(target=count_in_a_loader, args=(path, answers))
    loader.start()
    loader.join(30)
    assert loader.exitcode == 0 and answers.get() == (0, 20)


@pytest.mark.real
def test_real_clips(shared_data):
    for path in [
        *sorted((shared_data / "fights").glob("*/*.mp4"))[:3],
        *sorted((shared_data / "msr-action3d").glob("*/*.mp4"))[:2],
    ]:
        with open_video(path, resize=Resize(112)) as video:
            whole = video.clip()
            assert len(whole) == video.info.frames and whole.frames.shape[1:] == (3, 112, 112)
            assert len(whole) / video.info.rate == pytest.approx(video.info.duration, abs=0.05)
            picked = [2, len(whole) // 2, len(whole) - 1]
            assert np.array_equal(video.at(whole.times[picked]).frames, whole.frames[picked])
