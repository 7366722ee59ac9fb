"""Sentences about photos: one at a time or many, from Python and from the command line."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_photos import captioned_photos
from PIL import Image
from safetensors.torch import load_file

import lrcn
from lrcn.caption_page import Judged, caption_page
from lrcn.cli import main
from lrcn.data.manifest import Row, read_manifest, write_manifest
from lrcn.data.photo import PhotoError
from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import UNKNOWN, Tokenizer
from lrcn.errors import LrcnError
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import load_captioner, save_captioner
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig
from lrcn.predict import Failure
from lrcn.predict_captions import caption_many

WORDS = (UNKNOWN, "a", "red", "blue", "circle", "square", "of", "left")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    manifest = captioned_photos(tmp_path_factory.mktemp("photos") / "all", train=3, dev=2)
    return [row.path for row in read_manifest(manifest)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(2)
    config = CaptionerConfig(
        EncoderConfig("test_efficientnet", "none", pool="grid", grid=2, squeeze=0),
        features=8,
        decoder=DecoderConfig(size=8, embedding=8, attention=4, init_range=1.0),
    )
    model = Captioner(config, len(WORDS) + 1).eval()
    # Were it allowed to, it would say nothing else.
    model.decoder.bias.data[1] = 50.0
    place = tmp_path_factory.mktemp("models") / "tiny"
    save_captioner(place, model, PhotoPreprocess(32), Tokenizer(WORDS), Decoding(beam=2, max_length=6))
    return place


def test_half_precision_writes_nearly_the_same_and_leaves_the_model_as_it_is(folder, photos, tmp_path):
    loaded = load_captioner(folder)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    exact = list(caption_many(loaded, photos, best=2))
    half = list(caption_many(loaded, photos, best=2, half=True))
    for one, other in zip(exact, half, strict=True):
        assert other.log_prob == pytest.approx(one.log_prob, abs=0.1) and other.log_prob != one.log_prob
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    out = tmp_path / "captions.jsonl"
    call = ["caption", *photos, "--model", str(folder), "--format", "jsonl", "--out", str(out)]
    assert main([*call, "--half"]) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["caption"] for record in records] == [one.caption for one in half]


@pytest.mark.parametrize("faster", [True, False])
def test_half_precision_is_taken_where_the_processor_has_it(folder, photos, tmp_path, monkeypatch, faster):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": faster})
    loaded, out = load_captioner(folder), tmp_path / "captions.jsonl"
    assert main(["caption", *photos, "--model", str(folder), "--format", "jsonl", "--out", str(out)]) == 0
    said = [json.loads(line)["log_prob"] for line in out.read_text().splitlines()]
    for half in (True, False):
        alike = said == [round(one.log_prob, 4) for one in caption_many(loaded, photos, half=half)]
        assert alike == (half == faster)
    assert main(["caption", photos[0], "--model", str(folder), "--no-half", "--out", str(out)]) == 0


def test_the_folder_gives_the_same_captioner_back(folder):
    loaded = load_captioner(folder)
    assert loaded.tokenizer == Tokenizer(WORDS) and loaded.preprocess == PhotoPreprocess(32)
    assert loaded.decoding == Decoding(beam=2, max_length=6) and loaded.metrics == {}
    stored = load_file(folder / "model.safetensors")
    assert all(value.dtype != torch.float32 for value in stored.values())
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, stored[name].to(value.dtype))
    assert not loaded.model.training and loaded.model.config.encoder.weights == "none"


def test_a_vocabulary_of_another_size_is_refused(folder, tmp_path):
    model = load_captioner(folder).model
    save_captioner(tmp_path / "m", model, PhotoPreprocess(32), Tokenizer(WORDS))
    Tokenizer(WORDS[:-1]).save(tmp_path / "m" / "tokenizer.json")
    with pytest.raises(LrcnError, match=r"tokenizer\.json has 8 words, but model\.safetensors 9"):
        load_captioner(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    with pytest.raises(LrcnError, match=r"tokenizer\.json"):
        lrcn.load(tmp_path / "m", "cpu")


def test_a_photo_has_the_same_caption_alone_and_among_others_and_as_pixels(folder, photos):
    loaded = lrcn.load(folder, "cpu")
    together = list(caption_many(loaded, photos, batch=2))
    alone = [loaded.caption(path) for path in photos]
    assert [one.caption for one in together] == [one.caption for one in alone]
    assert [one.log_prob for one in together] == pytest.approx([one.log_prob for one in alone], abs=1e-4)
    from lrcn.data.photo import read_photo

    pixels = loaded.caption(read_photo(photos[0]))
    assert (pixels.caption, pixels.path) == (alone[0].caption, "photo")
    assert isinstance(pixels, lrcn.Caption) and UNKNOWN not in pixels.caption


def test_what_is_drawn_follows_from_photo_and_seed_alone(folder, photos):
    loaded = load_captioner(folder)
    decoding = Decoding(samples=3, temperature=0.5, max_length=6)
    among = list(caption_many(loaded, photos, decoding=decoding))[1]
    assert among.caption == loaded.caption(photos[1], decoding=decoding).caption
    drawn = {loaded.caption(photos[1], decoding=decoding, seed=seed).caption for seed in range(6)}
    assert len(drawn) > 1


def test_one_that_fails_takes_no_other_along(folder, photos, tmp_path):
    loaded = load_captioner(folder)
    results = list(caption_many(loaded, [photos[0], tmp_path / "none.png", photos[1]]))
    assert [isinstance(result, Failure) for result in results] == [False, True, False]
    with pytest.raises(PhotoError, match="does not exist"):
        loaded.caption(tmp_path / "none.png")
    with pytest.raises(LrcnError, match="5 sentences are asked for, and 2 are kept"):
        loaded.caption(photos[0], best=5)


def run(capsys, *arguments):
    code = main(["caption", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_records_of_good_and_bad_inputs(capsys, folder, photos, tmp_path):
    (tmp_path / "bad.jpg").write_text("none")
    code, out, err = run(
        capsys,
        photos[0],
        tmp_path / "nowhere.png",
        tmp_path / "bad.jpg",
        photos[1],
        "--model",
        folder,
        "--format",
        "jsonl",
    )
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [sorted(record) for record in records] == [
        ["caption", "log_prob", "path"],
        ["error", "path"],
        ["error", "path"],
        ["caption", "log_prob", "path"],
    ]
    assert err.count("\n") == 2 and "bad.jpg is no picture" in err and "nowhere.png" in err


def test_folders_lists_and_n_best(capsys, folder, photos, tmp_path, monkeypatch):
    place = str(photos[0]).rsplit("/", 1)[0]
    code, out, _ = run(capsys, place, "--model", folder)
    assert code == 0 and len(out.splitlines()) == 5
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{photos[0]}\n{photos[1]}\n".encode())))
    code, out, _ = run(capsys, "-", "--model", folder, "--nbest", 3, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["path"] for row in rows] == [photos[0]] * 3 + [photos[1]] * 3
    scores = [float(row["log_prob"]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    code, out, _ = run(
        capsys, photos[0], "--model", folder, "--samples", 4, "--temperature", "inf", "--format", "jsonl"
    )
    greedy = load_captioner(folder).caption(photos[0], decoding=Decoding(max_length=6)).caption
    assert code == 0 and json.loads(out)["caption"] == greedy
    assert run(capsys, photos[0], "--model", folder, "--out", tmp_path / "o.txt")[0] == 0
    assert (tmp_path / "o.txt").read_text().startswith(photos[0])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--beam", "3", "--samples", "3"], "either --beam or --samples"),
        (["--temperature", "2"], "--temperature goes with --samples"),
        (["--samples", "2", "--temperature", "0"], "not a number above 0"),
        (["--beam", "0"], "not a whole number"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_wrong_calls_are_one_sentence(capsys, folder, photos, options, named):
    code, out, err = run(capsys, photos[0], "--model", folder, *options)
    assert code == 2 and not out and named in err and err.count("\n") == 1


def test_models_of_other_tasks_are_refused(capsys, folder, photos):
    code, _, err = run(capsys, photos[0], "--model", "camera-moves")
    assert code == 2 and "writes sentences about photos" in err and err.count("\n") == 1
    assert main(["recognize", photos[0], "--model", str(folder)]) == 2
    assert "says what happens in videos" in capsys.readouterr().err


def test_eval_measures_a_captioner(capsys, folder, photos, tmp_path):
    manifest = str(photos[0]).rsplit("/", 1)[0] + "/photos.jsonl"
    call = ["eval", "--model", str(folder), "--data", manifest, "--split", "dev", "--out", str(tmp_path)]
    assert main([*call, "--format", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["photos"] == 2 and values["left_out"] == 0 and 0 <= values["bleu_1"] <= 1
    assert json.loads((tmp_path / "metrics.json").read_text()) == values
    told = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [one["path"] for one in told] == photos[3:] and all("caption" in one for one in told)
    score = ["score", "--references", manifest, "--predictions", str(tmp_path / "predictions.jsonl")]
    assert main([*score, "--partial", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["corpus"]["cider_d"] == pytest.approx(values["cider_d"])
    assert main([*call, "--segments"]) == 2
    assert "leave --protocol and --segments out" in capsys.readouterr().err


def test_eval_writes_a_page_of_the_best_and_the_worst(capsys, folder, photos, tmp_path):
    rows = read_manifest(str(photos[0]).rsplit("/", 1)[0] + "/photos.jsonl")
    Image.new("RGB", (8, 8)).save(tmp_path / "a&b.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    more = [
        Row(str(tmp_path / "a&b.png"), captions=("a <b>bold</b> claim",)),
        Row(str(tmp_path / "bad.png"), captions=("nothing",)),
    ]
    write_manifest([*(replace(row, split=None) for row in rows), *more], tmp_path / "m.jsonl")
    call = ["eval", "--model", str(folder), "--data", str(tmp_path / "m.jsonl")]
    assert main([*call, "--html", str(tmp_path / "pages" / "page.html")]) == 1
    err = capsys.readouterr().err
    assert "bad.png" in err and "Traceback" not in err
    text = (tmp_path / "pages" / "page.html").read_text(encoding="utf-8")
    assert text.count("<img ") == 6 == text.count('<span class="when">')
    assert "a &lt;b&gt;bold" in text and "a&amp;b.png" in text and "<b>bold" not in text
    assert "http" not in text.split("</style>")[1]
    scores = [float(score) for score in re.findall(r"CIDEr-D ([0-9.]+) ·", text)]
    best, worst = scores[:3], scores[3:]
    assert best == sorted(best, reverse=True) and worst == sorted(worst) and best[-1] >= worst[-1]
    assert main([*call, "--html", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main([*call, "--retrieval", "--html", "page.html"]) == 2
    assert "give --model a captioner" in capsys.readouterr().err
    assert main(["eval", "--model", "camera-moves", *call[3:], "--half"]) == 2
    assert "--half is for models that write captions" in capsys.readouterr().err


def test_a_page_shows_no_photo_twice():
    one = Judged("none.jpg", "a dog.", ("a cat",), {"cider_d": 0.5})
    for count, shown in ((1, 1), (3, 3), (9, 4)):
        text = caption_page("t", "l", [one] * count, {"cider_d": 0.5, "bleu_4": 0.1}, most=2)
        assert text.count('<span class="when">') == shown


def test_a_photo_may_be_of_any_size(folder):
    loaded = load_captioner(folder)
    for shape in ((1, 1), (3, 200), (90, 40)):
        assert loaded.caption(np.zeros((*shape, 3), np.uint8)).caption
