import pytest

from lrcn.data.video import list_media
from lrcn.errors import LrcnError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with some of everything, which is also the working folder."""
    for name in (
        "clips/run/c10.mp4",
        "clips/run/c2.MP4",
        "clips/walk/w1.avi",
        "clips/notes.txt",
        "clips/._c2.mp4",
        "clips/.cache/x.mp4",
        "clips/shots/frame_2.jpg",
        "clips/shots/frame_10.jpg",
        "photos/cat.jpg",
        "photos/dog.png",
        "odd.bin",
        "empty/readme.md",
        "7/a.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_searched_below_in_natural_order_and_frames_are_one_video(tree):
    assert list_media(["clips"]) == [
        "clips/run/c2.MP4",
        "clips/run/c10.mp4",
        "clips/shots",
        "clips/walk/w1.avi",
    ]


def test_images_are_listed_one_by_one(tree):
    assert list_media(["photos"], ("image",)) == ["photos/cat.jpg", "photos/dog.png"]
    assert list_media(["clips"], ("image",)) == ["clips/shots/frame_2.jpg", "clips/shots/frame_10.jpg"]
    assert "clips/walk/w1.avi" in list_media(["clips"], ("video", "image"))


def test_photos_are_not_frames(tree):
    with pytest.raises(LrcnError, match="No video in the folder photos"):
        list_media(["photos"])


def test_a_named_file_needs_no_suffix_and_comes_once(tree):
    assert list_media(["odd.bin", "clips/run/c2.MP4", "odd.bin"]) == ["odd.bin", "clips/run/c2.MP4"]


def test_globs(tree):
    assert list_media(["clips/**/c*.mp4"]) == ["clips/run/c10.mp4"]
    assert list_media(["clips/run/*"]) == ["clips/run/c2.MP4", "clips/run/c10.mp4"]
    assert list_media(["clips/w*"]) == ["clips/walk/w1.avi"]
    assert list_media(["*.bin"]) == ["odd.bin"]


def test_addresses_and_cameras_pass_through(tree):
    assert list_media(["rtsp://user@host/cam", "https://x.org/a.mp4", "0"]) == [
        "rtsp://user@host/cam",
        "https://x.org/a.mp4",
        "0",
    ]
    assert list_media(["7"]) == ["7/a.mp4"]
    with pytest.raises(LrcnError, match="Nothing matches 0"):
        list_media(["0"], ("image",))


@pytest.mark.parametrize("name", ["missing.mp4", "clips/*.mkv", "clips/[", "clips/*.png"])
def test_what_matches_nothing_is_named(tree, name):
    with pytest.raises(LrcnError) as raised:
        list_media(["odd.bin", name])
    assert name in str(raised.value)


def test_a_folder_without_media_is_named(tree):
    with pytest.raises(LrcnError, match="empty"):
        list_media(["empty"])


def test_links_that_lead_back_do_not_go_round(tree):
    (tree / "clips" / "run" / "up").symlink_to(tree / "clips")
    assert len(list_media(["clips"])) == 4
