"""Captions: what a sentence costs beside the CNN, likelihood tables, and metrics against the official code."""

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from lrcn.bench.measuring import Rows, side_by_side
from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, read_manifest


def caption(
    photos: str = "",
    model: str = "captions-flickr8k",
    images: int = 64,
    beams: Sequence[int] = (1, 5),
    repeats: int = 3,
    captions: int = 200,
    naive: int = 200,
    references: str = "",
    predictions: str = "",
) -> Rows:
    """Photos a second of a captioner beside those of its CNN alone, and what likelihood tables and metrics cost.

    Args:
        photos: captioned photos, a manifest or a folder in the layout of Flickr8k; those that ship with the demo,
            which have no captions, where it is empty.
        model: a captioner.
        images: photos at most that are captioned, and that a likelihood table has.
        beams: widths of the beam.
        repeats: runs of each way, which take turns.
        captions: captions of these photos at most, each scored against all of them, for a likelihood table; 0 leaves
            it out.
        naive: pairs that are scored one by one, for comparison.
        references: captions of people, for the speed of the metrics; needs `predictions`.
        predictions: captions of a system.
    """
    from lrcn.models.zoo import load

    loaded = load(model, tasks=("caption",))
    rows = _rows(photos)[:images]
    found = _speeds(loaded, [row.path for row in rows], beams, repeats)
    if captions and any(row.captions for row in rows):
        found += _table(loaded, rows, captions, naive, repeats)
    if references or predictions:
        found += _metrics(references, predictions, repeats)
    return found


def _rows(photos: str) -> list[Row]:
    if not photos:
        media = files("lrcn") / "assets" / "media"
        return [Row(path=str(path)) for path in sorted(Path(str(media)).glob("*.jpg"))]
    rows = read_manifest(photos) if Path(photos).is_file() else import_data("flickr8k", photos)[0]
    return [row for row in rows if row.split == "dev"] or rows


def _speeds(loaded: Any, paths: list[str], beams: Sequence[int], repeats: int) -> Rows:
    """The CNN alone from the same files, then whole captions."""
    from lrcn.generate import Decoding
    from lrcn.predict_captions import caption_many

    pieces = [paths[first : first + 16] for first in range(0, len(paths), 16)]

    def cnn() -> int:
        with torch.inference_mode():
            for piece in pieces:
                loaded.model.encoder(_pixels(loaded, piece))
        return len(paths)

    def captions(beam: int, half: bool | None) -> int:
        return len(list(caption_many(loaded, paths, decoding=Decoding(beam=beam), half=half)))

    ways = {"the CNN alone, photos read and resized": cnn} | {
        f"captions, beam {beam}{', --no-half' * (half is False)}": partial(captions, beam, half)
        for beam in beams
        for half in (None, False)
    }
    return side_by_side(ways, repeats, "ratio_to_cnn", unit="photos_per_s")


def _pixels(loaded: Any, paths: list[str]) -> torch.Tensor:
    from lrcn.data.photo import PhotoError
    from lrcn.data.photos import prepared

    photos = []
    for photo in prepared(paths, loaded.preprocess):
        if isinstance(photo, PhotoError):
            raise photo
        photos.append(photo)
    return torch.stack(photos)


def _table(loaded: Any, rows: list[Row], captions: int, naive: int, repeats: int) -> Rows:
    """Every caption of every photo, and some of the pairs one by one, each sentence in one pass of the network."""
    from lrcn.likelihood import log_likelihoods
    from lrcn.models.decoder import teacher_forced

    said = list(chain.from_iterable(row.captions for row in rows))[:captions]
    ids = [loaded.tokenizer.encode(words) for words in said]
    with torch.inference_mode():
        looks = [
            loaded.model.look(_pixels(loaded, [row.path for row in rows[first : first + 16]]))
            for first in range(0, len(rows), 16)
        ]
    seen = torch.cat(looks)
    ends = torch.tensor([len(sentence) for sentence in ids])
    read, _, _ = teacher_forced(ids)
    pairs = [(number % len(seen), number % len(ids)) for number in range(naive)]

    def table() -> int:
        log_likelihoods(loaded.model.decoder, seen, ids)
        return len(seen) * len(ids)

    def one_by_one() -> int:
        with torch.inference_mode():
            for image, said in pairs:
                steps = read[said : said + 1, : ends[said]]
                loaded.model.decoder(seen[image : image + 1], steps).log_softmax(2)
        return len(pairs)

    name = f"likelihood of {len(ids)} captions x {len(seen)} photos"
    ways = {f"{name}, all at once": table, f"{name}, {naive} pairs one by one": one_by_one}
    return side_by_side(ways, repeats, "ratio_to_table", unit="pairs_per_s", digits=4)


def _metrics(references: str, predictions: str, repeats: int) -> Rows:
    """BLEU, ROUGE-L and CIDEr-D of the same tokenised captions, ours and the official code's."""
    from lrcn.data.ptb import ptb_tokenize
    from lrcn.evaluate.caption_files import matched, read_predictions, read_references
    from lrcn.evaluate.captions import score_captions

    said = read_references(references)
    told = matched(said, read_predictions(predictions))
    people = {name: ptb_tokenize(list(said.captions[name])) for name in told}
    system = dict(zip(told, ptb_tokenize(list(told.values())), strict=True))

    def ours() -> int:
        score_captions(people, system, tokenized=True)
        return len(system)

    ways = {"BLEU, ROUGE-L and CIDEr-D, lrcn": ours}
    official = _official(people, system)
    if official is not None:
        ways["BLEU, ROUGE-L and CIDEr-D, pycocoevalcap"] = official
    return side_by_side(ways, repeats, "ratio_to_lrcn", unit="captions_per_s", digits=4)


def _official(people: dict[str, list[str]], system: dict[str, str]) -> Any:
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError:
        return None
    alone = {name: [caption] for name, caption in system.items()}

    def official() -> int:
        Bleu(4).compute_score(people, alone, verbose=0)
        Rouge().compute_score(people, alone)
        Cider().compute_score(people, alone)
        return len(alone)

    return official
