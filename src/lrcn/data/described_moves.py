"""Camera moves over captioned photos, with sentences that say the move: videos in words, derived from photos in words.

A person's caption, lower-cased, follows a clause about the camera: "the camera pans left over two dogs in the snow",
"the camera rests on a red car", "the camera zooms in as a boy jumps". The pixels and the captions are real, the moves
are made, and which sentence goes with which move is known, so that a clause can be read back and counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrcn.data.datasets import Item
from lrcn.data.manifest import Row
from lrcn.data.moves import MOVES, MovesDataset, MoveStyle

DERIVED = (
    "camera moves made over captioned photos; the clause about the camera was put before people's captions"
)
"""What such data are, for model cards."""

DESCRIBED_STYLE = MoveStyle(
    frames=17, size=260, pan=(0.06, 0.4), zoom=(0.08, 0.35), roll=(6.0, 25.0), view=(0.7, 1.0), tilt=5.0
)
"""Moves as a documentary makes them: slow, most of the photo in view, held level but for 5 degrees."""

PHRASES: Mapping[str, tuple[str, ...]] = {
    "static": ("rests", "holds still", "stays still"),
    "pan left": ("pans left", "pans to the left"),
    "pan right": ("pans right", "pans to the right"),
    "tilt up": ("tilts up", "tilts upwards"),
    "tilt down": ("tilts down", "tilts downwards"),
    "zoom in": ("zooms in", "closes in"),
    "zoom out": ("zooms out", "pulls out"),
    "roll clockwise": ("rolls clockwise", "turns clockwise"),
    "roll anticlockwise": ("rolls anticlockwise", "turns anticlockwise"),
}
"""What the camera does, in words; the first is the usual one."""


def clause_words() -> list[str]:
    """All words that clauses are made of, each once."""
    phrases = [phrase for of_move in PHRASES.values() for phrase in of_move]
    return list(
        dict.fromkeys(" ".join(["the camera", *phrases, *_BEFORE_THINGS.values(), _OVER, _AS]).split())
    )


_BEFORE_THINGS = {"static": "on", "zoom in": "on", "zoom out": "from"}
_OVER, _AS = "over", "as"
_MOVE_OF = {phrase: move for move, phrases in PHRASES.items() for phrase in phrases}
_CLAUSE = re.compile(
    rf"the camera ({'|'.join(sorted(_MOVE_OF, key=len, reverse=True))}) (?:on|from|{_OVER}|{_AS})\b\s*"
)
_VERBS = frozenset(["is", "are", "was", "were", "has", "have"])


def sentence_of(move: str, caption: str, verbs: frozenset[str], rng: np.random.Generator) -> str:
    """A person's caption with a clause about the camera before it.

    Args:
        move: one of MOVES.
        caption: as it was written.
        verbs: words that make a caption a sentence: "as a dog runs", but "over a running dog"; see `finite_verbs`.
        rng: chooses among phrases.
    """
    said = caption.strip()
    said = said[:1].lower() + said[1:]
    phrases = PHRASES[move]
    # Half of all are the usual phrase, so that one way of saying it stands out.
    phrase = phrases[0] if rng.random() < 0.5 else str(rng.choice(phrases))
    link = _AS if verbs & set(said.split()) else _BEFORE_THINGS.get(move, _OVER)
    return f"the camera {phrase} {link} {said}"


def move_and_rest(sentence: str) -> tuple[str | None, str]:
    """The move that a sentence says, and what stands after its clause; None and all of it where it says none."""
    lowered = sentence.strip().lower()
    found = _CLAUSE.match(lowered)
    if found is None:
        return None, lowered
    return _MOVE_OF[found[1]], lowered[found.end() :]


def finite_verbs(captions: Iterable[str]) -> frozenset[str]:
    """Words that are mostly verbs in the third person: forms in -s of words that stand nearly as often with -ing."""
    counts = Counter(word for caption in captions for word in caption.lower().split())
    found = {
        word
        for word, count in counts.items()
        if word.endswith("s") and any(3 * counts[form] >= count for form in _in_ing(word) if form in counts)
    }
    return _VERBS | found


def described_rows(rows: Sequence[Row], verbs: frozenset[str], seed: int = 0) -> list[Row]:
    """The rows of photos with the sentences about the clips that `DescribedMoves` makes of them.

    The move is kept in the field `move`; each caption's phrase follows from the seed, the row's place and its own.
    """
    described = []
    for index, row in enumerate(rows):
        move = MOVES[index % len(MOVES)]
        said = tuple(
            sentence_of(move, caption, verbs, np.random.default_rng([seed, index, number]))
            for number, caption in enumerate(row.captions)
        )
        described.append(replace(row, captions=said, extra={**row.extra, "move": move}))
    return described


class DescribedMoves(MovesDataset):
    """A clip for each row of `described_rows`: its move played over its photo; all views are the same clip.

    Args:
        rows: of photos, with the field `move`.
        style: how the camera moves; a clip is one move, without cuts and switches.
        seed: everything random follows from it.

    Raises:
        LrcnError: there are no rows.
    """

    def __init__(self, rows: Sequence[Row], style: MoveStyle, seed: int = 0) -> None:
        super().__init__([row.path for row in rows], replace(style, switch=0.0, cut=0.0), seed=seed)
        self.rows = list(rows)

    def label(self, index: int, view: int = 0) -> int:
        """The move that the row says."""
        return MOVES.index(self.rows[index].extra["move"])

    def item(self, index: int, view: int) -> Item:
        """{"frames": uint8 (T,3,size,size), "label": int64 (T,), "index": int}."""
        return super().item(index, 0)

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        return super().key(index, 0)


def _in_ing(word: str) -> tuple[str, ...]:
    """How the -ing form of "runs", "rides", "catches" or "tries" may be written."""
    stem = word[:-1]
    short = stem.removesuffix("e")
    return f"{stem}ing", f"{short}ing", f"{stem}{stem[-1:]}ing", f"{stem.removesuffix('ie')}ying"
