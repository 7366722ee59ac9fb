"""Bulk prediction: every video once, whatever becomes of it."""

from importlib.util import find_spec

import pytest
from made_recognizer import tiny
from made_video import make_video

from lrcn.errors import LrcnError
from lrcn.models.folder import save_model
from lrcn.predict import recognize
from lrcn.scale import Recognizing, recognize_bulk


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bulk")
    model = tiny(rate=10.0)
    save_model(folder / "model", model.model, model.preprocess, model.sampling, half=False)
    for number in range(3):
        make_video(folder / f"{number}.mp4", 10 + number)
    (folder / "broken.mp4").write_bytes(b"no film")
    return folder


def test_a_worker_tells_the_record_of_each_video(home):
    import json

    worker = Recognizing(str(home / "model"), "cpu")
    record = json.loads(worker({"path": str(home / "1.mp4")})["record"])
    from lrcn.models.zoo import load

    assert record == recognize(load(home / "model", "cpu"), str(home / "1.mp4")).to_json()
    assert "error" in json.loads(worker({"path": str(home / "broken.mp4")})["record"])


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_a_sentence_says_how_to_have_it(home):
    with pytest.raises(LrcnError, match=r"pip install 'lrcn\[scale\]'"):
        next(recognize_bulk([home]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # what Ray says to itself
@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra scale: pip install 'lrcn[scale]'")
def test_every_video_has_a_record(home):
    from lrcn.models.zoo import load

    found = {one["path"]: one for one in recognize_bulk([home], model=str(home / "model"), workers=1)}
    assert sorted(found) == sorted(str(home / name) for name in ("0.mp4", "1.mp4", "2.mp4", "broken.mp4"))
    assert "error" in found.pop(str(home / "broken.mp4"))
    loaded = load(home / "model", "cpu")
    for path, record in found.items():
        assert record["label"] == recognize(loaded, path).label
