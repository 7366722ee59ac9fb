"""Camera moves: the named move is what an independent measure sees, and no single frame tells it."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_video import make_video

from lrcn.data import moves
from lrcn.data.datasets import collate
from lrcn.data.moves import DIRECTION_PAIRS, MOVES, MovesDataset, MoveStyle, draw_path, plain, render
from lrcn.errors import LrcnError
from lrcn.evaluate.global_motion import track_frames

SMALL = MoveStyle(frames=6, size=32)
STEADY = MoveStyle(
    frames=8, size=144, pan=(0.3, 0.4), zoom=(0.3, 0.4), roll=(15.0, 25.0), cross=0.0, shake=0.0, easing=0.3
)
seeds = st.integers(0, 10_000)


def few(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


def photo(seed=0, height=360, width=480) -> np.ndarray:
    """A picture with detail at every scale, uint8 (H,W,3)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for size in (4, 8, 16, 32):
        noise = rng.normal(size=(height // size + 1, width // size + 1, 3))
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 35 * picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths = [str(folder / f"{seed}.png") for seed in range(5)]
    for seed, path in enumerate(paths):
        cv2.imwrite(path, photo(seed, 120 + 10 * seed, 160))
    return paths


def measured(frames: np.ndarray, rate: float):
    """The judge's motion of the picture; its signs are those of the camera's moves."""
    return track_frames(
        ((np.ascontiguousarray(f.transpose(1, 2, 0)), t / rate) for t, f in enumerate(frames)), rate
    )


# The name says what happens


@pytest.mark.parametrize("label", range(len(MOVES)), ids=MOVES)
def test_the_move_seen_is_the_move_named(label):
    for seed in range(2):
        rng = np.random.default_rng([seed, label])
        path = draw_path(STEADY, label, rng)
        motion = measured(render(photo(seed), path, STEADY, rng), STEADY.rate)
        amounts = np.stack([motion.dx, motion.dy, motion.log_scale, motion.angle])
        assert amounts.shape[1] >= STEADY.frames - 1 and np.isfinite(amounts).all()
        # Left, up, in and clockwise are positive; units as speeds of the style.
        expected = np.zeros(4)
        if label:
            axis, reverse = divmod(label - 1, 2)
            low, high = (STEADY.pan, STEADY.pan, STEADY.zoom, np.radians(STEADY.roll))[axis]
            assert 0.5 * low < np.abs(amounts[axis].mean()) < 1.5 * high
            expected[axis] = -1.0 if reverse else 1.0
        strong = np.where(np.abs(amounts) > 0.08, np.sign(amounts), 0.0)
        assert (strong == expected[:, None]).all()


@pytest.mark.parametrize("label", range(1, 5), ids=MOVES[1:5])
def test_phase_correlation_agrees_on_pans_and_tilts(label):
    rng = np.random.default_rng(label)
    style = replace(STEADY, size=112)
    frames = render(photo(3), draw_path(style, label, rng), style, rng)
    grey = [cv2.cvtColor(f.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY).astype(np.float32) for f in frames]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    shifts = np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(grey)])
    axis, reverse = divmod(label - 1, 2)
    # The camera goes left, the picture right: x grows; the camera goes up, the picture down: y grows.
    assert (np.sign(shifts[:, axis]) == (-1 if reverse else 1)).all()
    assert (np.abs(shifts[:, axis]) > 1).all() and (np.abs(shifts[:, 1 - axis]) < 1).all()


def test_the_moves_are_those_of_the_judge_and_come_in_opposite_pairs():
    from lrcn.evaluate.global_motion import LABELS

    assert tuple(MOVES) == tuple(LABELS)
    opposites = {"left": "right", "up": "down", "in": "out", "clockwise": "anticlockwise"}
    for one, other in DIRECTION_PAIRS:
        assert opposites[MOVES[one].split()[1]] == MOVES[other].split()[1]
        assert MOVES[one].split()[0] == MOVES[other].split()[0]


# Truth at every frame


@few(40)
@given(seed=seeds, label=st.integers(0, 8), frames=st.integers(2, 12))
def test_a_path_begins_with_its_label_and_changes_it_at_most_once(seed, label, frames):
    style = MoveStyle(frames=frames, size=32, switch=1.0)
    path = draw_path(style, label, np.random.default_rng(seed))
    assert path.labels.shape == (frames,) and path.poses.shape == (frames, 2, 3)
    changes = np.flatnonzero(np.diff(path.labels))
    assert path.labels[0] == path.labels[1] == label
    assert len(changes) == (1 if frames >= 5 else 0)
    unswitched = draw_path(plain(style), label, np.random.default_rng(seed))
    assert (unswitched.labels == label).all()


@few(40)
@given(seed=seeds, label=st.integers(0, 8))
def test_each_frame_is_labelled_by_the_step_that_led_to_it(seed, label):
    style = MoveStyle(frames=12, size=32, switch=1.0, cross=0.0, shake=0.0)
    path = draw_path(style, label, np.random.default_rng(seed))
    whole = np.concatenate([path.poses, np.tile([[[0.0, 0.0, 1.0]]], (12, 1, 1))], axis=1)
    for t in range(1, 12):
        step = np.linalg.inv(whole[t - 1]) @ whole[t]
        scale = np.sqrt(np.linalg.det(step[:2, :2]))
        amounts = [step[0, 2], step[1, 2], -np.log(scale), np.arctan2(step[1, 0], step[0, 0])]
        named = {
            "left": amounts[0] < -1e-4,
            "right": amounts[0] > 1e-4,
            "up": amounts[1] < -1e-4,
            "down": amounts[1] > 1e-4,
            "in": amounts[2] > 1e-4,
            "out": amounts[2] < -1e-4,
            "clockwise": amounts[3] > 1e-4,
            "anticlockwise": amounts[3] < -1e-4,
        }
        assert [name for name, seen in named.items() if seen] == MOVES[path.labels[t]].split()[1:]


@few(20)
@given(seed=seeds, label=st.integers(1, 8))
def test_easing_never_stops_a_move_and_cross_never_outdoes_it(seed, label):
    style = MoveStyle(frames=16, easing=1.0, cross=0.5, shake=0.0)
    steps = moves._move_steps(style, label, 15, np.random.default_rng(seed))
    travel = np.abs(steps) * moves._CORNER
    axis = (label - 1) // 2
    assert (np.sign(steps[:, axis]) == np.sign(steps[0, axis])).all()
    assert (np.delete(travel, axis, 1).sum(1) <= 0.5 * travel[:, axis] + 1e-12).all()


# No single frame tells


def windows(style, label, count, seed):
    """(count, T, 4): place of each frame's window in the photo, its size, and its turn's sign-less size."""
    found = []
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        path = draw_path(style, label, rng)
        matrices, shrink = moves._place(path, (300, 400), style.size, style.view, rng)
        centre = np.array([style.size / 2 - 0.5, style.size / 2 - 0.5, 1])
        found.append(
            [
                [
                    *(m @ centre / shrink),
                    np.sqrt(np.linalg.det(m[:, :2])) / shrink,
                    np.arctan2(m[1, 0], m[0, 0]),
                ]
                for m in matrices
            ]
        )
    return np.array(found)


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest difference between two empirical distributions."""
    points = np.sort(np.concatenate([one, other]))
    share = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(share[0] - share[1]).max())


@pytest.mark.parametrize(
    ("one", "other"), DIRECTION_PAIRS, ids=[MOVES[a].split()[0] for a, _ in DIRECTION_PAIRS]
)
def test_the_middle_window_and_all_windows_together_do_not_tell_the_direction(one, other):
    style, count = MoveStyle(frames=8, size=32, zoom=(0.5, 0.6), shake=0.0), 400
    seen = [windows(style, label, count, seed) for seed, label in enumerate((one, other))]
    # 1.9 / sqrt(n / 2): a difference that chance gives once in a thousand samples.
    limit = 1.95 * np.sqrt(2 / count)
    for value in (0, 1, 2):
        assert gap(*(s[:, 3:5, value].mean(1) for s in seen)) < limit
        # A single-frame judge sees any frame: over the clip, a move and its reverse show the same windows.
        for summary in (np.min, np.mean, np.max):
            assert gap(*(summary(s[:, :, value], axis=1) for s in seen)) < limit
    first, last = seen[0][:, 0], seen[0][:, -1]
    axis = (one - 1) // 2
    assert gap(first[:, axis], last[:, axis]) > limit, "the move itself shows in the windows"


def test_every_window_size_is_as_asked_in_the_middle():
    style = MoveStyle(frames=8, size=32, view=(0.4, 0.6), shake=0.0)
    for label in range(9):
        sizes = windows(style, label, 40, 3)[:, 3:5, 2] * style.size / 300
        middle = np.sqrt(sizes.prod(1))
        assert (middle > 0.4 - 1e-9).all() and (middle < 0.6 + 1e-9).all()


# The data set


def test_items_are_pure_functions_of_seed_index_and_view(photos):
    style = replace(SMALL, switch=0.5, objects=0.5, wear=1.0)
    first, second = (MovesDataset(photos, style, length=20, seed=3) for _ in range(2))
    draws = [(4, 0), (11, 2), (4, 1), (0, 0)]
    one = {draw: first.item(*draw) for draw in draws}
    for draw in reversed(draws):
        item = second[draw]
        assert (item["frames"] == one[draw]["frames"]).all() and (item["label"] == one[draw]["label"]).all()
        assert item["index"] == draw[0] and item["label"][0] == second.label(*draw)
    assert (one[4, 0]["frames"] != one[4, 1]["frames"]).any()
    other = MovesDataset(photos, style, length=20, seed=4).item(4, 0)
    assert (other["frames"] != one[4, 0]["frames"]).any()


def test_shapes_and_batches(photos):
    clips = MovesDataset(photos, SMALL)
    assert len(clips) == 5 and clips.labels == list(MOVES)
    batch = collate([clips.item(0, 0), clips.item(1, 0)])
    assert batch["frames"].shape == (2, 6, 3, 32, 32) and str(batch["frames"].dtype) == "torch.uint8"
    assert batch["labels"].tolist() == [[0] * 6, [1] * 6]


@pytest.mark.parametrize("sources", range(1, 20))
def test_labels_are_balanced_and_no_source_goes_with_a_label(sources):
    clips = MovesDataset([str(n) for n in range(sources)], SMALL, length=9 * sources)
    labels = np.array([clips.label(index) for index in range(len(clips))])
    assert np.bincount(labels, minlength=9).tolist() == [sources] * 9
    for source in range(sources):
        assert sorted(labels[source::sources]) == list(range(9))


def test_a_key_changes_with_what_makes_the_item(photos, tmp_path):
    clips = MovesDataset(photos, SMALL, length=10)
    others = [
        MovesDataset(photos, replace(SMALL, wear=0.5), length=10),
        MovesDataset(photos, SMALL, length=10, seed=1),
        MovesDataset(photos[::-1], SMALL, length=10),
    ]
    keys = {clips.key(3, 0), clips.key(3, 1), clips.key(4, 0), *(other.key(3, 0) for other in others)}
    assert len(keys) == 6 and clips.key(3, 0) == MovesDataset(photos, SMALL, length=10).key(3, 0)


@pytest.mark.parametrize("change", [{"shake": 0.05}, {"wear": 1.0}, {"objects": 1.0}])
def test_shake_wear_and_patches_change_pixels_and_no_labels(photos, change):
    quiet = MovesDataset(photos, replace(SMALL, shake=0.0), length=9)
    rough = MovesDataset(photos, replace(SMALL, **({"shake": 0.0} | change)), length=9)
    for index in range(9):
        one, other = quiet.item(index, 0), rough.item(index, 0)
        assert (one["label"] == other["label"]).all()
        assert (one["frames"] != other["frames"]).any()


def test_a_static_camera_over_a_photo_sees_a_still(photos):
    item = MovesDataset(photos, replace(SMALL, shake=0.0)).item(0, 0)
    assert item["label"].tolist() == [0] * 6 and (item["frames"] == item["frames"][:1]).all()


def test_clips_are_sources_and_short_ones_are_played_to_and_fro(tmp_path):
    video = make_video(tmp_path / "a.mp4", 12, rate=30)
    style = replace(SMALL, frames=9, rate=10.0, shake=0.0)
    frames = MovesDataset([str(video)], style).item(0, 0)["frames"].float()
    changes = [float((a - b).abs().mean()) for a, b in pairwise(frames)]
    assert min(changes) > 0.5, "the clip plays on under the static camera"
    assert moves._to_and_fro(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert moves._to_and_fro(1, 3).tolist() == [0, 0, 0]


@few(30)
@given(height=st.integers(2, 80), width=st.integers(2, 80), label=st.integers(0, 8), seed=seeds)
def test_pictures_of_any_shape_can_be_moved_over(height, width, label, seed):
    rng = np.random.default_rng(seed)
    style = MoveStyle(frames=4, size=16, pan=(1.0, 2.0), wear=1.0)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frames = render(picture, draw_path(style, label, rng), style, rng, picture)
    assert frames.shape == (4, 3, 16, 16) and frames.dtype == np.uint8


def test_large_photos_are_kept_small(tmp_path):
    path = str(tmp_path / "large.png")
    cv2.imwrite(path, photo(0, 600, 900))
    assert moves._pixels(path, SMALL).shape == (256, 384, 3)


# What cannot be done


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": 1}, "moves.frames is 1"),
        ({"rate": 0.0}, "moves.rate is 0.0"),
        ({"size": 0}, "moves.size is 0"),
        ({"pan": (0.0, 0.5)}, "moves.pan is 0.0..0.5"),
        ({"zoom": (0.5, 0.1)}, "moves.zoom is 0.5..0.1"),
        ({"roll": (-5.0, 5.0)}, "moves.roll is -5.0..5.0"),
        ({"view": (0.0, 0.5)}, "moves.view"),
        ({"easing": 1.5}, "moves.easing is 1.5"),
        ({"cross": -0.1}, "moves.cross is -0.1"),
        ({"switch": 2.0}, "moves.switch is 2.0"),
        ({"wear": -1.0}, "moves.wear is -1.0"),
        ({"objects": 1.1}, "moves.objects is 1.1"),
        ({"shake": -0.1}, "moves.shake is -0.1"),
    ],
)
def test_styles_that_cannot_be_played_are_refused(wrong, said):
    with pytest.raises(LrcnError) as raised:
        MoveStyle(**wrong)
    assert str(raised.value).startswith(said) and str(raised.value).endswith(".")


def test_missing_photos_are_named(tmp_path):
    with pytest.raises(LrcnError, match="at least one photo"):
        MovesDataset([], SMALL)
    (tmp_path / "text.jpg").write_text("words")
    for name in ("gone.jpg", "text.jpg", "gone.mp4"):
        with pytest.raises(LrcnError, match=name):
            MovesDataset([str(tmp_path / name)], SMALL).item(0, 0)
    with pytest.raises(LrcnError, match=r"gone\.jpg"):
        MovesDataset([str(tmp_path / "gone.jpg")], SMALL).key(0, 0)


def test_a_length_below_one_is_refused(photos):
    for length in (0, -1):
        with pytest.raises(LrcnError, match=f"length is {length}"):
            MovesDataset(photos, SMALL, length=length)


@pytest.mark.parametrize("label", range(len(MOVES)))
def test_the_middle_frame_is_tilted_alike_whatever_the_move(label: int) -> None:
    style = MoveStyle(tilt=30.0, shake=0.0)
    angles = []
    for seed in range(200):
        poses = draw_path(style, label, np.random.default_rng(seed)).poses
        middle = poses[len(poses) // 2]
        angles.append(np.degrees(np.arctan2(middle[1, 0], middle[0, 0])))
    assert np.abs(angles).max() <= 30.0
    assert np.mean(angles) == pytest.approx(0.0, abs=4.0)
    # Uniform over -30..30: a standard deviation of 17.3 degrees.
    assert np.std(angles) == pytest.approx(17.3, abs=2.5)
