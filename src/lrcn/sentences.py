"""What was written about a photo, as a typed result; nothing here needs torch."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """One sentence.

    Attributes:
        caption: as people read it.
        log_prob: natural logarithm of its probability, its end included.
    """

    caption: str
    log_prob: float


@dataclass(frozen=True)
class Caption:
    """What a captioner wrote about one photo.

    Attributes:
        path: where the photo came from, as it was given.
        caption: the best sentence.
        log_prob: natural logarithm of its probability, its end included.
        others: the next best, where more than one was asked for.
    """

    path: str
    caption: str
    log_prob: float
    others: tuple[Told, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The JSONL record: plain values; log-probabilities have 4 decimals."""
        others = [{"caption": told.caption, "log_prob": round(told.log_prob, 4)} for told in self.others]
        return {
            "path": self.path,
            "caption": self.caption,
            "log_prob": round(self.log_prob, 4),
            **({"others": others} if others else {}),
        }
