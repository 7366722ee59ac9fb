"""The scores of captions: equal to the official code's on real data, on examples, and by their laws."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.evaluate import ngrams
from lrcn.evaluate.captions import CaptionScores, CiderD, score_captions

# What pycocoevalcap 1.2 gives for these captions (Bleu, Rouge and Cider, which is CIDEr-D); CIDEr is that Cider with
# the two lines of vrama91/cider's `pyciderevalcap/cider/cider_scorer.py` that differ: no clipping, no penalty.
REFERENCES = {
    "1": ["a man rides a horse", "a man on a brown horse"],
    "2": ["two dogs run on the beach", "dogs play in the sand by the sea"],
    "3": ["a red bus"],
    "4": ["a cat sleeps"],
}
PREDICTIONS = {
    "1": "a man rides a brown horse",
    "2": "two dogs on a beach",
    "3": "a a a red red car parked on the street",
    "4": "",
}
METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d", "cider")
CORPUS = (
    *(0.5714285714013606, 0.47140452076671324, 0.3542195230408168, 0.246694268148481),
    *(0.4951417672853967, 1.811102576286849, 2.136716935022643),
)
PER_IMAGE = {
    "1": (
        *(0.9999999996666668, 0.9999999996500001, 0.9085602960778836, 0.7071067809007587),
        *(0.9242424242424241, 5.228775828729714, 5.272367945357617),
    ),
    "2": (
        *(0.6549846022003919, 0.36614752367478015, 3.3197905452746884e-06, 1.1062691197280677e-08),
        *(0.7155425219941348, 1.431450796450608, 1.4743775052287833),
    ),
    "3": (
        *(0.1999999999800001, 0.1490711984842508, 1.4057211086787578e-06, 4.463236137318893e-09),
        *(0.34078212290502796, 0.5841836799670743, 1.8001222895041717),
    ),
    "4": (0.0,) * 7,
}

words = st.lists(st.sampled_from("abcdef"), max_size=9).map(" ".join)
groups = st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=5)


def named(values):
    return {f"image {number}": value for number, value in enumerate(values)}


def test_as_the_official_code():
    found = score_captions(REFERENCES, PREDICTIONS, tokenized=True)
    for metric, score in zip(METRICS, CORPUS, strict=True):
        assert found.corpus[metric] == pytest.approx(score, abs=1e-12), metric
    for image, scores in PER_IMAGE.items():
        for metric, score in zip(METRICS, scores, strict=True):
            assert found.per_image[image][metric] == pytest.approx(score, abs=1e-12), (image, metric)


@pytest.mark.real
def test_as_the_official_scores_of_5000_photos(shared_data):
    folder = shared_data / "caption-metrics"
    official = json.loads((folder / "coco5k_official_scores.json").read_text())
    predictions = json.loads((folder / "coco5k_predictions.json").read_text())
    references: dict[str, list[str]] = {}
    for record in json.loads((folder / "coco5k_references.json").read_text())["annotations"]:
        references.setdefault(record["image_id"], []).append(record["caption"])
    found = score_captions(references, {record["image_id"]: record["caption"] for record in predictions})
    assert len(found.per_image) == 5000
    assert found.references == 25010
    ours = {"ROUGE_L": "rouge_l", "CIDEr": "cider_d"} | {f"Bleu_{n}": f"bleu_{n}" for n in range(1, 5)}
    for name, metric in ours.items():
        assert found.corpus[metric] == pytest.approx(official["corpus"][name], abs=1e-9)
        theirs = [official["per_image"][image][name] for image in references]
        assert [found.per_image[image][metric] for image in references] == pytest.approx(theirs, abs=1e-9)


# ---- laws ----


@given(groups)
def test_a_caption_that_is_a_reference_is_perfect(captions):
    assume(all(group[0] for group in captions))
    found = score_captions(named(captions), named([group[0] for group in captions]), tokenized=True)
    # The official guard against a division by zero takes 1e-9 away from a count.
    assert found.corpus["bleu_1"] == pytest.approx(1, abs=1e-6)
    assert all(scores["rouge_l"] == pytest.approx(1) for scores in found.per_image.values())


@given(groups, st.data())
def test_the_order_of_references_and_images_does_not_matter(captions, data):
    predictions = named([data.draw(words) for _ in captions])
    references = named(captions)
    expected = score_captions(references, predictions, tokenized=True)
    shuffled = {
        image: data.draw(st.permutations(references[image]))
        for image in data.draw(st.permutations(list(references)))
    }
    found = score_captions(shuffled, predictions, tokenized=True)
    assert found.corpus == pytest.approx(expected.corpus, abs=1e-12)
    for image, scores in expected.per_image.items():
        assert found.per_image[image] == pytest.approx(scores, abs=1e-12)


@given(groups, st.data())
def test_every_score_stays_in_its_range(captions, data):
    found = score_captions(named(captions), named([data.draw(words) for _ in captions]), tokenized=True)
    for scores in (found.corpus, *found.per_image.values()):
        for metric, score in scores.items():
            assert 0 <= score <= (10 if "cider" in metric else 1) + 1e-9, metric
        assert scores["cider_d"] <= scores["cider"] + 1e-9


@given(groups)
def test_an_empty_prediction_scores_nothing(captions):
    assume(all(text for group in captions for text in group))
    found = score_captions(named(captions), named([""] * len(captions)))
    assert set(found.corpus.values()) == {0.0}


@given(groups, st.data())
def test_counts_are_those_of_counting_by_hand(captions, data):
    predictions = [data.draw(words) for _ in captions]
    found = score_captions(named(captions), named(predictions), tokenized=True)
    for number, (group, prediction) in enumerate(zip(captions, predictions, strict=True)):
        ours, theirs = prediction.split(" "), [text.split(" ") for text in group]
        common = [lcs(text, ours) for text in theirs]
        precision = max(common) / len(ours)
        recall = max(length / len(text) for length, text in zip(common, theirs, strict=True))
        rouge = 2.44 * precision * recall / (recall + 1.44 * precision) if precision else 0
        assert found.per_image[f"image {number}"]["rouge_l"] == pytest.approx(rouge)


def lcs(first, second):
    row = [0] * (len(second) + 1)
    for word in first:
        before = row
        row = [0]
        for place, other in enumerate(second):
            row.append(before[place] + 1 if word == other else max(row[place], before[place + 1]))
    return row[-1]


def test_captions_of_more_words_than_a_number_has_bits():
    generator = np.random.default_rng(0)
    long = [" ".join(generator.choice(list("abcd"), size)) for size in (63, 64, 65, 130)]
    found = score_captions(named([[long[0]]] * 4), named(long), tokenized=True)
    for number, text in enumerate(long):
        common = lcs(long[0].split(), text.split())
        precision, recall = common / len(text.split()), common / 63
        expected = 2.44 * precision * recall / (recall + 1.44 * precision)
        assert found.per_image[f"image {number}"]["rouge_l"] == pytest.approx(expected)


def test_numbers_too_large_to_sort_in_one_are_sorted_all_the_same(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 9, 200) << 58
    assert ngrams._stable_order(codes).tolist() == np.argsort(codes, kind="stable").tolist()
    small = codes >> 58
    assert ngrams._stable_order(small).tolist() == np.argsort(small, kind="stable").tolist()


# ---- CIDEr-D as a reward ----


def test_cider_d_of_many_samples_is_that_of_the_corpus():
    reward = CiderD(REFERENCES, tokenized=True)
    samples = [(image, caption) for image in REFERENCES for caption in (PREDICTIONS[image], "a red bus", "")]
    found = reward.scores(samples, tokenized=True).reshape(4, 3)
    assert found[:, 0].tolist() == pytest.approx([PER_IMAGE[image][5] for image in REFERENCES])
    assert found[2, 1] == pytest.approx(7.5), "three words have no 4-gram"
    assert found[:, 2].tolist() == [0, 0, 0, 0]
    assert reward.scores([]).shape == (0,)


@given(groups, st.lists(st.tuples(st.integers(0, 4), words), max_size=8))
def test_cider_d_of_a_caption_does_not_depend_on_what_else_is_scored(captions, samples):
    reward = CiderD(named(captions), tokenized=True)
    pairs = [(f"image {number % len(captions)}", f"{text} new") for number, text in samples]
    together = reward.scores(pairs, tokenized=True)
    alone = [reward.scores([pair], tokenized=True)[0] for pair in pairs]
    assert together.tolist() == pytest.approx(alone)


def test_cider_d_tokenizes_what_is_not_tokenized():
    raw = {image: [f"{text.capitalize()}!" for text in texts] for image, texts in REFERENCES.items()}
    found = CiderD(raw).scores([("1", "A man rides a brown horse.")])
    assert found.tolist() == pytest.approx([PER_IMAGE["1"][5]])


# ---- edges ----


def test_one_image_has_no_cider():
    """Every n-gram stands in the references of every image, so none tells anything: as in the official code."""
    found = score_captions({"1": REFERENCES["1"]}, {"1": REFERENCES["1"][0]})
    assert found.corpus["cider"] == found.corpus["cider_d"] == 0
    assert found.corpus["bleu_4"] == pytest.approx(1)


def test_a_caption_of_marks_alone_is_an_empty_one():
    found = score_captions(REFERENCES, PREDICTIONS | {"1": "!?, ...", "4": "..."})
    assert found.per_image["4"] == dict.fromkeys(found.corpus, 0.0)


def test_references_without_a_word():
    found = score_captions({"1": ["..."], "2": ["", "."]}, {"1": "a dog", "2": ""})
    assert found.per_image["1"]["bleu_1"] < 1e-6
    assert found.per_image["2"]["rouge_l"] == 1, "the official code compares one empty word with another"


def test_no_break_blanks_part_words_for_all_but_rouge():
    """As in the official code, where only ROUGE-L splits at single blanks."""
    found = score_captions({"1": ["2 1/2 men"]}, {"1": "1/2 men"})
    assert found.per_image["1"]["rouge_l"] == pytest.approx(0.5)
    assert found.per_image["1"]["bleu_2"] == pytest.approx(math.exp(-0.5), abs=1e-6)


@pytest.mark.parametrize(
    ("references", "predictions", "sentence"),
    [
        ({}, {}, "There are no references"),
        ({"a": []}, {"a": "x"}, "The image 'a' came without a single reference caption"),
        ({"a": ["x"]}, {}, "The image 'a' has references but no prediction"),
        ({"a": ["x"]}, {"a": "x", "b": "y"}, "The image 'b' has a prediction but no references"),
        (
            named([["x"]] * 5),
            {},
            "5 images ('image 0', 'image 1', 'image 2', ...) have references but no pred",
        ),
    ],
)
def test_images_that_do_not_match(references, predictions, sentence):
    with pytest.raises(LrcnError) as error:
        score_captions(references, predictions)
    assert str(error.value).startswith(sentence)


def test_partial_scores_only_what_both_have():
    found = score_captions(REFERENCES, {"2": PREDICTIONS["2"], "9": "x"}, partial=True)
    assert list(found.per_image) == ["2"]
    assert found.corpus == score_captions({"2": REFERENCES["2"]}, {"2": PREDICTIONS["2"]}).corpus
    assert found.lines()[0] == ("1 image, 2 references; left out, for want of references or a prediction: 4")
    for predictions in ({}, {"9": "x"}):
        with pytest.raises(LrcnError, match="No image has both"):
            score_captions(REFERENCES, predictions, partial=True)


def test_a_reward_for_an_unknown_image():
    with pytest.raises(LrcnError, match="The image '9' has no references"):
        CiderD(REFERENCES).scores([("9", "x")])
    with pytest.raises(LrcnError, match="no references"):
        CiderD({})


def test_what_is_told():
    scores = CaptionScores({"bleu_1": 0.5, "spice": math.nan}, {"7": {"bleu_1": 0.5, "spice": math.nan}}, 3)
    assert scores.to_json() == {
        "corpus": {"bleu_1": 0.5, "spice": None},
        "per_image": {"7": {"bleu_1": 0.5, "spice": None}},
    }
    assert scores.lines() == ["1 image, 3 references", "BLEU-1   0.5000", "SPICE    nan"]
