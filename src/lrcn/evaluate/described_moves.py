"""Sentences about made camera moves, measured in two: the clause about the camera, and what is said of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrcn.data.described_moves import move_and_rest
from lrcn.data.manifest import Row
from lrcn.data.moves import DIRECTION_PAIRS, MOVES
from lrcn.data.tokenizer import Tokenizer
from lrcn.evaluate.captioning import as_words
from lrcn.evaluate.captions import CaptionScores, score_captions
from lrcn.generate import Sentence

_OTHER_WAY = {MOVES[k]: MOVES[other] for a, b in DIRECTION_PAIRS for k, other in ((a, b), (b, a))}


@dataclass(frozen=True)
class MovesInWords:
    """How well sentences say moves, and how well what the pictures show.

    Attributes:
        clips: how many there were.
        right: share of them whose move is said right, 0 to 1.
        direction: the same among those that move and whose kind of move is said right: left or right, up or down, in
            or out, one way round or the other; None where there are none.
        wrong: (move, what was said or None, how often), the most frequent first.
        rest: scores of what follows the clause, against people's captions.
    """

    clips: int
    right: float
    direction: float | None
    wrong: tuple[tuple[str, str | None, int], ...]
    rest: CaptionScores

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "clips": self.clips,
            "move_right": round(self.right, 4),
            "direction_right": None if self.direction is None else round(self.direction, 4),
            "wrong": [list(one) for one in self.wrong],
            "rest": self.rest.to_json()["corpus"],
        }

    def line(self) -> str:
        """In one line."""
        way = "" if self.direction is None else f" (direction {self.direction:.1%})"
        scores = self.rest.corpus
        return (
            f"of {self.clips} clips the camera's move is said right of {self.right:.1%}{way}; the rest scores "
            f"CIDEr-D {100 * scores['cider_d']:.1f}, BLEU-4 {100 * scores['bleu_4']:.1f}."
        )


def moves_in_words(tokenizer: Tokenizer, rows: Sequence[Row], sentences: Sequence[Sentence]) -> MovesInWords:
    """Measures a sentence about each clip of `lrcn.data.described_moves.described_rows`."""
    moves = [str(row.extra["move"]) for row in rows]
    said, rests = zip(*map(move_and_rest, as_words(tokenizer, sentences)), strict=True)
    pairs = list(zip(moves, said, strict=True))
    right = sum(move == told for move, told in pairs)
    moving = [
        (move, told) for move, told in pairs if told in (move, _OTHER_WAY.get(move)) and move in _OTHER_WAY
    ]
    wrong: dict[tuple[str, str | None], int] = {}
    for move, told in pairs:
        if move != told:
            wrong[move, told] = wrong.get((move, told), 0) + 1
    references = {
        str(index): [move_and_rest(caption)[1] for caption in row.captions] for index, row in enumerate(rows)
    }
    return MovesInWords(
        clips=len(rows),
        right=right / len(rows),
        direction=sum(move == told for move, told in moving) / len(moving) if moving else None,
        wrong=tuple((*pair, count) for pair, count in sorted(wrong.items(), key=lambda item: -item[1])),
        rest=score_captions(references, {str(index): rest for index, rest in enumerate(rests)}),
    )
