"""`lrcn score`: files in, a table or JSON out, and one sentence for what is wrong."""

import json
import subprocess
import sys

import pytest

from lrcn.cli import main
from lrcn.evaluate import java

REFERENCES = {"1": ["A man rides a horse.", "A man on a brown horse!"], "2": ["Two dogs run on the beach"]}
PREDICTIONS = [
    {"image_id": 1, "caption": "a man rides a brown horse"},
    {"image_id": 2, "caption": "Two dogs on a beach."},
]


@pytest.fixture
def score(tmp_path, monkeypatch, capsys):
    """Writes both files, runs `lrcn score` on them -> (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*options, references=REFERENCES, predictions=PREDICTIONS):
        for name, content in (("r.json", references), ("p.json", predictions)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text, encoding="utf-8")
        code = main(["score", "--references", "r.json", "--predictions", "p.json", *options])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_table(score):
    code, out, err = score()
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "2 images, 3 references"
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        *("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "CIDEr-D")
    ]


def test_json_and_that_marks_and_capitals_do_not_matter(score):
    code, out, _ = score("--format", "json")
    found = json.loads(out)
    assert code == 0
    metrics = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "cider_d"}
    assert set(found["corpus"]) == set(found["per_image"]["1"]) == metrics
    assert list(found["per_image"]) == ["1", "2"]
    # pycocoevalcap 1.2's Rouge.
    assert found["per_image"]["1"]["rouge_l"] == pytest.approx(0.9242424242424241)


def test_tokenized_text_is_taken_as_it_is(score):
    expected = score("--format", "json")[1]
    tokenized = {
        "1": ["a man rides a horse", "a man on a brown horse"],
        "2": ["two dogs run on the beach"],
    }
    plain = {"1": "a man rides a brown horse", "2": "two dogs on a beach"}
    assert score("--tokenized", "--format", "json", references=tokenized, predictions=plain)[1] == expected
    assert score("--tokenized", "--format", "json")[1] != expected


def test_lines_written_by_lrcn_caption(score, tmp_path):
    (tmp_path / "photos").mkdir()
    references = "".join(
        json.dumps({"path": f"photos/{name}.jpg", "captions": texts}) + "\n"
        for name, texts in REFERENCES.items()
    )
    predictions = "".join(
        json.dumps(
            {"path": f"./photos/{record['image_id']}.jpg", "caption": record["caption"], "log_prob": -9.5}
        )
        + "\n"
        for record in PREDICTIONS
    )
    code, out, _ = score("--format", "json", references=references, predictions=predictions)
    assert code == 0
    assert json.loads(out)["corpus"] == json.loads(score("--format", "json")[1])["corpus"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"predictions": PREDICTIONS[:1]},
            "The image '2' has references but no prediction; add what is missing",
        ),
        ({"references": {"1": ["x"]}}, "The image '2' has a prediction but no references"),
        ({"predictions": [{"image_id": 1}]}, "p.json entry 1: it has no caption"),
        ({"references": '{"path": "a", "caption": "x"}\n{'}, "r.json line 2: this is not JSON"),
        (
            {"predictions": '{"id": 1, "caption": "x"}\n' * 2},
            "p.json line 2: the image '1' has a second caption",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(score, given, sentence):
    code, out, err = score(**given)
    assert (code, out) == (2, "")
    assert err.startswith(f"lrcn: {sentence}")
    assert err.count("\n") == 1


def test_partial(score):
    code, out, _ = score("--partial", predictions=PREDICTIONS[:1])
    assert code == 0
    assert out.startswith("1 image, 2 references; left out, for want of references or a prediction: 1\n")


def test_a_file_that_is_not_there(capsys):
    assert main(["score", "--references", "none.json", "--predictions", "none.json"]) == 2
    assert capsys.readouterr().err == "lrcn: none.json does not exist: give a file of captions.\n"


def test_metrics_that_need_the_extra(score, monkeypatch):
    monkeypatch.setattr(java, "meteor", lambda *captions, progress: (0.3, [0.2, 0.4]))
    monkeypatch.setattr(java, "spice", lambda *captions: (0.1, [0.0, 0.2]))
    code, out, _ = score("--meteor", "--spice")
    assert code == 0
    assert out.splitlines()[-2:] == ["METEOR   0.3000", "SPICE    0.1000"]


def test_without_the_extra(score, monkeypatch):
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    code, out, err = score("--meteor")
    assert (code, out) == (2, "")
    assert "install 'lrcn[metrics]'" in err


def test_no_torch_is_loaded(score, tmp_path):
    score()
    program = (
        "import sys; from lrcn.cli import main; main(sys.argv[1:]); "
        "sys.exit(', '.join({'torch', 'cv2', 'av'} & set(sys.modules)) or 0)"
    )
    arguments = ["score", "--references", "r.json", "--predictions", "p.json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.real
def test_the_official_numbers(shared_data, capsys):
    folder = shared_data / "caption-metrics"
    files = [
        "--references",
        folder / "coco5k_references.json",
        "--predictions",
        folder / "coco5k_predictions.json",
    ]
    assert main(["score", *map(str, files), "--format", "json"]) == 0
    corpus = json.loads(capsys.readouterr().out)["corpus"]
    official = json.loads((folder / "coco5k_official_scores.json").read_text())["corpus"]
    assert corpus["bleu_4"] == pytest.approx(official["Bleu_4"], abs=1e-9)
    assert corpus["cider_d"] == pytest.approx(official["CIDEr"], abs=1e-9)
    assert corpus["rouge_l"] == pytest.approx(official["ROUGE_L"], abs=1e-9)
