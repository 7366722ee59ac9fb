"""The tokeniser against what Stanford's program gives: real captions, and cases run through the program itself."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data import ptb
from lrcn.data.ptb import ptb_tokenize

# Left: a caption. Right: pycocoevalcap 1.2's PTBTokenizer on it (CoreNLP 3.4.1, Java 25).
CASES = {
    "A man's dog can't swim, but don't worry!": "a man 's dog ca n't swim but do n't worry",
    "I'm sure they'll say we've been where you'd go": "i 'm sure they 'll say we 've been where you 'd go",
    "the dogs' bowls, James's t-shirt": "the dogs bowls james 's t-shirt",
    "it’s a dog’s life, isn’t it": "it 's a dog 's life is n't it",
    "You cannot, gonna; wanna. GIMME gotta lemme": "you can not gon na wan na gim me got ta lem me",
    "'tis the season of rock 'n' roll": "'t is the season of rock 'n' roll",
    "ma'am o'clock D'Angelo O'Brien's y'all": "ma'am o'clock d'angelo o'brien 's y' all",
    'A sign that reads "Main St." near "B."': "a sign that reads main st. near b.",
    "‘single’ and “double” quotes": "single and double quotes",
    "a bench (with a cat) [sic] {x}": "a bench -lrb- with a cat -rrb- -lsb- sic -rsb- -lcb- x -rcb-",
    "one, two; three: four. Five! Six? Seven...": "one two three four five six seven",
    "Really?! No!! Why???": "really ?! no !! why ???",
    "bats,balls and a table,a chair": "bats balls and a table a chair",
    "a car.The dog sat next.to it": "a car.the dog sat next.to it",
    "It is built-in.The end": "it is built-in the end",
    "a state-of-the-art half-full glass": "a state-of-the-art half-full glass",
    "man -- woman - child – cat — dog": "man woman child cat dog",
    "black/white his/her and/or a/b/c/d": "black/white his/her and/or a/b/c / d",
    "U.S. flags in D.C. at 5 p.m. on TV.": "u.s. flags in d.c. at 5 p.m. on tv",
    "Mr. Smith of Acme Inc. met Dr. Who vs. etc.": "mr. smith of acme inc. met dr. who vs. etc.",
    "bus no. 5 and no. Number": "bus no. 5 and no number",
    "plan B. The end of plan B. and C.": "plan b the end of plan b. and c.",
    "a dog., a cat.; it": "a dog. a cat. it",
    "50% off for $5.00 or £3 or 7¢": "50 % off for $ 5.00 or # 3 or 7 cents",
    "1,000 and 3.14 and .5 and -5 at 10:45": "1,000 and 3.14 and .5 and -5 at 10:45",
    "1950s cars, 1960's cars, '90s cars": "1950s cars 1960 's cars '90s cars",
    '2 1/2 feet, 3/4 inch, ½ cup, 6" long': "2\xa01/2 feet 3/4 inch 1/2 cup 6 long",
    "5'10 tall at 20mph on 4x4 #7 @home #fun": "5 '10 tall at 20mph on 4x4 # 7 @home #fun",
    "B&B at AT&amp;T, r&b": "b&b at at&t r & b",
    "i=on a+b c*d e_f g|h": "i = on a + b c * d e_f g | h",
    "call (555) 123-4567 or a@b.com": "call -lrb-555-rrb-\xa0123-4567 or a@b.com",
    "see http://a.com/b?c=d, www.a.com": "see http://a.com/b?c=d www.a.com",
    '<b>bold</b> and <a href="x">': '<b> bold </b> and <a\xa0href="x">',
    "smile :) wink ;-) 8)": "smile :-rrb- wink ;--rrb- 8 -rrb-",
    "café naïve 日本語 Ünïcode": "café naïve 日本語 ünïcode",
    "dog 😀 cat 😀dog ☺ © 90°F": "dog cat dog ☺ © 90 ° f",
    "soft\xadhyphen no\xa0break\ttab\nline": "softhyphen no break tab line",
    "": "",
    " . ! ": "",
}


@pytest.mark.parametrize("caption", CASES)
def test_as_the_program(caption):
    assert ptb_tokenize([caption]) == [CASES[caption]]


@pytest.mark.real
def test_as_the_program_on_real_captions(shared_data):
    folder = shared_data / "caption-metrics"
    tokenized = json.loads((folder / "coco5k_ptb_tokenized.json").read_text())
    references = json.loads((folder / "coco5k_references.json").read_text())["annotations"]
    predictions = json.loads((folder / "coco5k_predictions.json").read_text())
    expected = {image: iter(texts) for image, texts in tokenized["tok_refs"].items()}
    captions = [record["caption"] for record in references + predictions]
    wanted = [next(expected[record["image_id"]]) for record in references]
    wanted += [tokenized["tok_hyp"][record["image_id"]][0] for record in predictions]
    found = ptb_tokenize(captions)
    wrong = [case for case in zip(captions, wanted, found, strict=True) if case[1] != case[2]]
    assert len(captions) == 30010
    # The program reads the captions as one text: the next one begins with "A", so for it "U." ends a sentence.
    assert wrong == [
        (
            "A group of people trying out the new Nintendo Wii U.",
            "a group of people trying out the new nintendo wii u",
            "a group of people trying out the new nintendo wii u.",
        )
    ]


# What rules are made of, in any order.
PIECES = [*"aAbsdtTno15.,:;'\"-/()<>&$%#@_!?+* \t\n’é½😀", "n't", "'s", "co. ", "The ", "http://"]
text = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(text)
def test_words_hold_no_blanks_nor_removed_marks(caption):
    (found,) = ptb_tokenize([caption])
    words = found.split(" ") if found else []
    assert all(words)
    assert not set(words) & ptb._REMOVED
    assert found == found.lower()


@given(text, text)
def test_captions_are_read_each_by_itself(first, second):
    assert ptb_tokenize([first, second]) == ptb_tokenize([first]) + ptb_tokenize([second])


@given(text)
def test_reading_piece_by_piece_changes_nothing(caption):
    """Where the quick way is taken, it gives what the rules give for the whole caption."""
    if not ptb._ACROSS.search(caption):
        assert ptb._words_of_pieces(caption) == ptb._words(caption)


@given(st.text())
def test_any_text_can_be_read(caption):
    assert isinstance(ptb_tokenize([caption])[0], str)


def test_a_long_piece_takes_no_long_time():
    began = time.perf_counter()
    for piece in ("a" * 20000, "a." * 10000, "a-" * 10000, "1/" * 5000, "<a" * 2000, "'" * 3000, "a@" * 5000):
        ptb_tokenize([piece])
    assert time.perf_counter() - began < 20
