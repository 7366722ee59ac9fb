"""What a captioner wrote about photos beside what people wrote, as one HTML page that fetches nothing."""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrcn.report import Section, page, paragraph, tiles
from lrcn.search_page import picture
from lrcn.text import one_line

MOST = 20
"""Photos shown of the best, and of the worst."""


@dataclass(frozen=True)
class Judged:
    """A photo with the sentence a captioner wrote about it.

    Attributes:
        path: the photo.
        caption: what the captioner wrote.
        people: what people wrote.
        scores: of the sentence, by metric (`lrcn.evaluate.captions`); with "cider_d", which puts photos in order.
    """

    path: str
    caption: str
    people: Sequence[str]
    scores: Mapping[str, float]


def caption_page(
    title: str, lead: str, judged: Sequence[Judged], corpus: Mapping[str, float], most: int = MOST
) -> str:
    """The page as HTML: the best and the worst photos by CIDEr-D, none of them in both.

    Args:
        title: what was measured.
        lead: a sentence below it.
        judged: at least one.
        corpus: scores of all of them together.
        most: photos of each kind.
    """
    ranked = sorted(judged, key=lambda one: -one.scores["cider_d"])
    best = ranked[: min(most, (len(ranked) + 1) // 2)]
    worst = ranked[::-1][: min(most, len(ranked) - len(best))]
    nothing = sum(one.scores["cider_d"] < 0.005 for one in judged)
    middle = ranked[len(ranked) // 2].scores["cider_d"]
    figures = [
        (f"{corpus['cider_d']:.3f}", "CIDEr-D, mean of all"),
        (f"{middle:.2f}", "CIDEr-D of the photo in the middle"),
        (f"{nothing} of {len(judged)}", "photos of CIDEr-D 0.00"),
        (f"{corpus['bleu_4']:.3f}", "BLEU-4 of all"),
    ]
    sections = [
        Section("numbers", "All photos", f'<div class="card">{tiles(figures)}</div>'),
        Section("best", f"The {len(best)} best", _listed(best), "Best"),
        Section("worst", f"The {len(worst)} worst, the worst first", _listed(worst), "Worst"),
    ]
    footer = paragraph(
        "In bold what the model wrote, below it what people wrote. CIDEr-D, from 0 to 10, says how far a sentence "
        "shares with theirs the words that few photos have; it knows no synonyms, so a right sentence may score 0."
    )
    return page(one_line(title), paragraph(one_line(lead), "lead"), sections, footer)


def _listed(judged: Sequence[Judged]) -> str:
    items = "".join(f"<li>{_photo(one)}</li>" for one in judged)
    return f'<ol class="shots">{items}</ol>' if judged else "<p>None.</p>"


def _photo(one: Judged) -> str:
    name = html.escape(one_line(os.path.basename(one.path)))
    said = html.escape(one_line(one.caption))
    people = "".join(f"<li>{html.escape(one_line(sentence))}</li>" for sentence in one.people)
    return (
        f"{picture(one.path, said)}<div>"
        f'<span class="when">CIDEr-D {one.scores["cider_d"]:.2f} · {name}</span>'
        f'<p><b>{said}</b></p><ul class="quiet small">{people}</ul></div>'
    )
