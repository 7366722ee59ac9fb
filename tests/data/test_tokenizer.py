"""Words and ids: what counts as a word, which words are known, and that nothing is lost on the way."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.data.manifest import Row
from lrcn.data.tokenizer import EOS, Tokenizer, load_tokenizer, split_words, training_captions
from lrcn.errors import LrcnError

few = settings(max_examples=60, deadline=None, derandomize=True)

CAPTIONS = ["A man's dog runs.", "A dog runs, and runs!", "The dog isn't here .", "A CAFÉ."]
# Shorter ones may be taken for abbreviations when the "." of a sentence follows.
word = st.text("bdfgkw", min_size=4, max_size=6)
RULES = ("paper", "modern")


def learned(rule="modern", min_count=1, **options) -> Tokenizer:
    return Tokenizer.learn(CAPTIONS, rule, min_count=min_count, **options)


# ---- words ----


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs.", ["a", "dog", "runs"]),
        ("A dog runs .", ["a", "dog", "runs"]),
        (
            "A man's dog, a tri-colored one",
            ["a", "man", "'", "s", "dog", ",", "a", "tri", "-", "colored", "one"],
        ),
        ("Stop!", ["stop", "!"]),
        ("Wait...", ["wait", "..."]),
        ("U.S. flag.", ["u", ".", "s", ".", "flag"]),
        ("snake_case 42", ["snake_case", "42"]),
        ("  \t ", []),
        (".", []),
        ("Ein CAFÉ.", ["ein", "café"]),
    ],
)
def test_the_papers_words(caption, words):
    assert split_words(caption, "paper") == words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs.", ["a", "dog", "runs"]),
        ("A man's dog, a tri-colored one!", ["a", "man", "'s", "dog", "a", "tri-colored", "one"]),
        ("It isn't (really) here .", ["it", "is", "n't", "really", "here"]),
        ("...", []),
        ("", []),
        ("Ein CAFÉ.", ["ein", "café"]),
    ],
)
def test_modern_words_are_those_the_metrics_count(caption, words):
    assert split_words(caption, "modern") == words


@pytest.mark.parametrize("rule", RULES)
def test_composed_and_decomposed_letters_are_the_same_word(rule):
    assert split_words("Cafe\u0301", rule) == split_words("Caf\u00e9", rule) == ["caf\u00e9"]


@pytest.mark.parametrize("rule", RULES)
@few
@given(caption=st.text(st.characters(), max_size=30))
def test_any_text_has_words(rule, caption):
    words = split_words(caption, rule)
    assert all(word and word == word.strip() for word in words)
    assert len(learned(rule).encode(caption)) <= 20


# ---- the vocabulary ----


def test_words_stand_by_count_then_alphabet_behind_the_unknown():
    tokenizer = learned()
    assert tokenizer.words[:5] == ("<unk>", "a", "dog", "runs", "'s")
    assert tokenizer.words[5:] == tuple(sorted(tokenizer.words[5:]))
    assert tokenizer.size == len(tokenizer.words) + 1


def test_rare_words_are_unknown():
    tokenizer = learned(min_count=3)
    assert tokenizer.words == ("<unk>", "a", "dog", "runs")
    assert tokenizer.encode("A cat runs") == [2, 1, 4, EOS]
    assert tokenizer.decode([2, 1, 4, EOS, 3]) == ["a", "<unk>", "runs"]


def test_only_train_is_learned_from():
    rows = [
        Row("a.jpg", captions=("one", "two"), split="train"),
        Row("b.jpg", captions=("three",), split="dev"),
        Row("c.jpg", captions=("four",)),
    ]
    assert training_captions(rows) == ["one", "two"]
    with pytest.raises(LrcnError, match="in the split train"):
        training_captions(rows[1:])


def test_a_vocabulary_of_no_words_is_refused():
    with pytest.raises(LrcnError, match="No word occurs 9 times"):
        learned(min_count=9)


@pytest.mark.real
def test_the_papers_vocabulary_of_flickr8k(shared_data):
    from lrcn.data.importers import import_data

    rows, _ = import_data("flickr8k", shared_data / "flickr8k")
    tokenizer = Tokenizer.learn(training_captions(rows), "paper")
    ids, report = tokenizer.encode_all(
        [caption for row in rows if row.split == "dev" for caption in row.captions]
    )
    assert tokenizer.words[:4] == ("<unk>", "a", "in", "the") and 2000 < tokenizer.size < 3000
    assert report.captions == len(ids) == 5000 and 0.01 < report.unknown / report.words < 0.05


# ---- ids ----


@pytest.mark.parametrize("rule", RULES)
@few
@given(words=st.lists(word, min_size=1, max_size=10))
def test_ids_and_words_and_sentences_are_one(rule, words):
    tokenizer = Tokenizer.learn([" ".join(words)], rule, min_count=1)
    ids = tokenizer.encode(" ".join(words))
    assert ids[-1] == EOS and 1 not in ids
    assert tokenizer.decode(ids) == split_words(" ".join(words), rule)
    assert tokenizer.encode(tokenizer.sentence(ids)) == ids
    assert tokenizer.encode(" ".join(tokenizer.decode(ids))) == ids


def test_long_captions_are_cut_and_have_no_end():
    tokenizer = learned(max_length=3)
    assert tokenizer.encode("dog runs") == [3, 4, EOS]
    assert tokenizer.encode("dog runs dog") == [3, 4, 3]


@pytest.mark.parametrize("rule", RULES)
def test_what_did_not_fit_is_counted(rule):
    tokenizer = Tokenizer.learn(CAPTIONS, rule, min_count=3, max_length=4)
    captions = ["A dog runs.", "", "A naïve dog runs.", "Dog dog dog dog dog", " . "]
    ids, report = tokenizer.encode_all(captions)
    assert ids == [tokenizer.encode(caption) for caption in captions] and ids[1] == [EOS]
    assert (report.captions, report.words, report.unknown, report.with_unknown) == (5, 12, 1, 1)
    assert (report.empty, report.truncated, report.non_ascii) == (2, 2, 1)
    said = "\n".join(report.lines())
    assert "5 captions of 12 words, 1 of them (8.3%) unknown" in said
    assert "Without a word: 2" in said and "too long: 2" in said and "beyond ASCII: 1" in said
    assert len(tokenizer.encode_all(["A dog."])[1].lines()) == 1


def test_a_sentence_for_people():
    tokenizer = Tokenizer.learn(["a man's dog isn't here"], min_count=1)
    ids = tokenizer.encode("a man's dog isn't here")
    assert tokenizer.sentence(ids) == "A man's dog isn't here."
    assert tokenizer.sentence(ids[:-1], finished=False) == "A man's dog isn't here..."
    assert tokenizer.sentence([EOS]) == "" == tokenizer.sentence([], finished=False)
    paper = Tokenizer.learn(["a dog, a cat"], "paper", min_count=1)
    assert paper.sentence(paper.encode("a dog, a cat")) == "A dog, a cat."


@pytest.mark.parametrize("wrong", [99, -1])
def test_ids_of_no_word_are_refused(wrong):
    with pytest.raises(LrcnError, match=f"Word id {wrong}"):
        learned().decode([wrong])


# ---- the file ----


@pytest.mark.parametrize("rule", RULES)
def test_it_survives_its_file(rule, tmp_path):
    tokenizer = learned(rule, max_length=7)
    tokenizer.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path / "tokenizer.json") == tokenizer
    assert "café" in (tmp_path / "tokenizer.json").read_text(encoding="utf-8")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(LrcnError, match="Cannot read the vocabulary"):
        load_tokenizer(path)
    good = {"rule": "paper", "max_length": 20, "words": ["<unk>", "a"]}
    for text, said in (
        ("{", "cannot be read as JSON"),
        ("[]", "tokenizer.json"),
        (json.dumps(good | {"rule": "other"}), "rule"),
        (json.dumps(good | {"max_length": 1}), "max_length"),
        (json.dumps(good | {"words": ["a"]}), "begins with <unk>"),
        (json.dumps(good | {"words": ["<unk>", "a", "a"]}), "every word once"),
        (json.dumps(good | {"words": "a"}), "words"),
        (json.dumps(good | {"words": ["<unk>", 3]}), "words"),
        (json.dumps({"rule": "paper"}), "words is missing"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(LrcnError, match=said):
            load_tokenizer(path)
