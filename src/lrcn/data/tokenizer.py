"""Words <-> ids: the vocabulary, learned from the training captions alone.

Id 0 ends a sentence and is also what a network is given before its first word; `<unk>` has id 1, and the words follow,
the most frequent first (Donahue et al. 2015; the released coco_to_hdf5_data.py).
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from lrcn.config import from_values, to_values
from lrcn.data.manifest import Row
from lrcn.data.ptb import ptb_tokenize
from lrcn.errors import LrcnError
from lrcn.files import write_whole

EOS = 0
UNKNOWN = "<unk>"
UNKNOWN_ID = 1

Rule = Literal["paper", "modern"]

_RUNS = re.compile(r"(\W+)")
# The Penn Treebank's brackets are the one punctuation that the caption metrics count as words.
_BRACKETS = frozenset(["-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"])
_STUCK_TO_THE_WORD_BEFORE = re.compile(r" (n't\b|'(?:s|re|ve|ll|d|m)\b|[,.;:!?%)\]])")


@dataclass(frozen=True)
class TokenReport:
    """What became of a list of captions.

    Attributes:
        captions: how many there were.
        words: words in them.
        unknown: words that the vocabulary lacks.
        with_unknown: captions that hold one or more of them.
        empty: captions without a word; their ids are the end alone.
        truncated: captions that were cut because they are longer than `max_length`.
        non_ascii: captions with other characters than ASCII's.
    """

    captions: int
    words: int
    unknown: int
    with_unknown: int
    empty: int
    truncated: int
    non_ascii: int

    def lines(self) -> list[str]:
        """The counts as sentences, for a terminal; what did not happen is not told."""
        share = self.unknown / max(self.words, 1)
        told = [
            f"{self.captions} captions of {self.words} words, {self.unknown} of them ({share:.1%}) unknown, in "
            f"{self.with_unknown} captions."
        ]
        if self.empty:
            told.append(f"Without a word: {self.empty} captions.")
        if self.truncated:
            told.append(f"Cut for being too long: {self.truncated} captions.")
        if self.non_ascii:
            told.append(f"With characters beyond ASCII: {self.non_ascii} captions.")
        return told


@dataclass(frozen=True)
class Tokenizer:
    """Splits captions into words and gives each word an id.

    Attributes:
        words: `words[i]` has id `i + 1`; the first is `<unk>`.
        rule: "paper" splits at everything that is no letter, digit or underscore, keeps punctuation as words, and drops
            a final "."; "modern" gives the words the caption metrics count (Penn Treebank's, no punctuation).
        max_length: L, the most ids of a caption, its end included (the paper: 20).
    """

    words: tuple[str, ...]
    rule: Rule = "modern"
    max_length: int = 20

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise LrcnError(f"rule is {self.rule!r}: choose one of {', '.join(get_args(Rule))}.")
        if self.max_length < 2:
            raise LrcnError(f"max_length is {self.max_length}: give 2 or more, a word and the end.")
        if not self.words or self.words[0] != UNKNOWN or len(set(self.words)) < len(self.words):
            raise LrcnError(f"A vocabulary begins with {UNKNOWN} and has every word once; this one does not.")

    @classmethod
    def learn(
        cls, captions: Iterable[str], rule: Rule = "modern", *, min_count: int = 5, max_length: int = 20
    ) -> "Tokenizer":
        """The vocabulary of captions: the words that occur `min_count` times or more, by (-count, word).

        Give the training captions alone (`training_captions`).

        Raises:
            LrcnError: no word occurs that often.
        """
        counts = Counter(word for caption in captions for word in split_words(caption, rule))
        counts.pop(UNKNOWN, None)
        kept = sorted(
            (word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w)
        )
        if not kept:
            raise LrcnError(
                f"No word occurs {min_count} times in the training captions ({len(counts)} different words): "
                "give more captions, or a lower min_count."
            )
        return cls((UNKNOWN, *kept), rule, max_length)

    @property
    def size(self) -> int:
        """V: the words, `<unk>` and the end."""
        return len(self.words) + 1

    def encode(self, caption: str) -> list[int]:
        """A caption's ids: its words and the end, cut to `max_length` (what is cut has no end)."""
        return self._encoded(split_words(caption, self.rule))

    def encode_all(self, captions: Sequence[str]) -> tuple[list[list[int]], TokenReport]:
        """Every caption's ids, in order, and a report of what did not fit."""
        split = [split_words(caption, self.rule) for caption in captions]
        unknown = [sum(word not in self._ids for word in words) for words in split]
        report = TokenReport(
            captions=len(captions),
            words=sum(map(len, split)),
            unknown=sum(unknown),
            with_unknown=sum(map(bool, unknown)),
            empty=sum(not words for words in split),
            truncated=sum(len(words) >= self.max_length for words in split),
            non_ascii=sum(not caption.isascii() for caption in captions),
        )
        return [self._encoded(words) for words in split], report

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of ids, up to the end if there is one.

        Raises:
            LrcnError: an id that the vocabulary does not have.
        """
        words = []
        for i in ids:
            if i == EOS:
                break
            if not 0 < i < self.size:
                raise LrcnError(f"Word id {i} is not among the {self.size} of this vocabulary.")
            words.append(self.words[i - 1])
        return words

    def sentence(self, ids: Iterable[int], *, finished: bool = True) -> str:
        """Ids as people read them: a capital first, "." at the end, "..." where the sentence did not come to one."""
        text = _STUCK_TO_THE_WORD_BEFORE.sub(r"\1", " ".join(self.decode(ids)))
        return text and text[0].upper() + text[1:] + ("." if finished else "...")

    def save(self, path: str | Path) -> None:
        """Writes tokenizer.json."""
        write_whole(path, json.dumps(to_values(self), indent=0, ensure_ascii=False) + "\n")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i + 1 for i, word in enumerate(self.words)}

    def _encoded(self, words: Sequence[str]) -> list[int]:
        return [*(self._ids.get(word, UNKNOWN_ID) for word in words), EOS][: self.max_length]


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Reads a tokenizer.json.

    Raises:
        LrcnError: it is missing, or is none.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LrcnError(f"Cannot read the vocabulary {path}: {error.strerror or error}.") from error
        return from_values(Tokenizer, values, str(path))
    except (ValueError, RecursionError) as error:
        raise LrcnError(f"{path} cannot be read as JSON ({error}); copy it again.") from error
    return from_values(Tokenizer, values, str(path))


def training_captions(rows: Iterable[Row]) -> list[str]:
    """The captions of the rows in train: all that a vocabulary may be learned from.

    Raises:
        LrcnError: there are none.
    """
    captions = [caption for row in rows if row.split == "train" for caption in row.captions]
    if not captions:
        raise LrcnError("No row with captions is in the split train; give rows a split, or captions.")
    return captions


def split_words(caption: str, rule: Rule) -> list[str]:
    """A caption's words, lower-cased, by a rule of `Tokenizer`."""
    # Half of a surrogate pair, which JSON can hold, is no text that a file could.
    text = unicodedata.normalize("NFC", caption.encode("utf-8", "replace").decode())
    if rule == "modern":
        return [word for word in ptb_tokenize([text])[0].split() if word not in _BRACKETS]
    words = [run.strip().lower() for run in _RUNS.split(text) if run.strip()]
    return words[:-1] if words and words[-1] == "." else words
