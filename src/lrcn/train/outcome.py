"""What a training on sentences leaves behind: what was written and measured, the model card, the files of the run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrcn.config import to_yaml
from lrcn.data.manifest import Row
from lrcn.data.tokenizer import Tokenizer
from lrcn.evaluate.captioning import Show, has_meteor, measure, written
from lrcn.evaluate.captions import CaptionScores
from lrcn.files import write_whole
from lrcn.generate import Decoding, Sentence
from lrcn.train.card import NO_SPREAD
from lrcn.train.photo_splits import PhotoSplit
from lrcn.train.run import Result, draw_curves
from lrcn.train.tracking import counting

_STRETCHES = ("train", "tune", "self_critical")


def written_about(
    loaded: Any, split: PhotoSplit, decoding: Decoding, out: Path, show: Show | None = None
) -> dict[str, list[Sentence]]:
    """What a model writes about dev and test, also left in `dev.jsonl` and `test.jsonl` in `out`.

    Args:
        loaded: the captioner, or what else writes.
        split: the photos.
        decoding: how sentences are chosen.
        out: the run's folder.
        show: see `lrcn.evaluate.captioning.written`.
    """
    found = {}
    for name, part in split.judged().items():
        progress = counting(f"sentences about {name}")
        found[name] = written(loaded.model, part.photos, decoding, show=show, progress=progress)
        write_sentences(out / f"{name}.jsonl", part.rows, split.tokenizer, found[name])
    return found


def scored(
    split: PhotoSplit, sentences: Mapping[str, Sequence[Sentence]], meteor: bool | None
) -> dict[str, CaptionScores]:
    """How the sentences about dev and test score; METEOR too, where `meteor` says so, or it is None and installed."""
    wanted = has_meteor() if meteor is None else meteor
    return {
        name: measure(split.tokenizer, part.rows, sentences[name], meteor=wanted)
        for name, part in split.judged().items()
    }


def score_values(found: Mapping[str, CaptionScores], what: str, metric: str, title: str) -> dict[str, Any]:
    """Scores for a metrics.json, which counts `what`; its headline is the `metric` of the last split, by its title."""
    values: dict[str, Any] = {
        name: {what: len(scores.per_image), **scores.to_json()["corpus"]} for name, scores in found.items()
    }
    if values:
        name = list(values)[-1]
        values["headline"] = f"{name} {title} {100 * values[name][metric]:.1f}"
    return values


def score_facts(found: Mapping[str, CaptionScores], what: str) -> list[str]:
    """Scores for a model card: a table, and how to read it; nothing where nothing was measured."""
    if not found:
        return []
    return ["\n".join(score_table(found, what)), f"In hundredths, CIDEr-D also. {NO_SPREAD}"]


def score_table(found: Mapping[str, CaptionScores], what: str = "photos") -> list[str]:
    """A Markdown table of scores in hundredths, a row a split."""
    metrics = list(next(iter(found.values())).corpus)
    rows = [
        " | ".join([name, str(len(scores.per_image)), *(f"{100 * scores.corpus[m]:.1f}" for m in metrics)])
        for name, scores in found.items()
    ]
    head = ["split", what, *(metric.replace("_", "-").upper() for metric in metrics)]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in rows)]


def learned_from(split: PhotoSplit, what: str, seed: int) -> list[str]:
    """What a model card says of the vocabulary, and of the photos, or `what` they are."""
    sentences = sum(map(len, split.train.sentences))
    return [
        f"**Vocabulary**: {split.tokenizer.size - 2} words.",
        f"**Trained on** {len(split.train.rows)} {what} with {sentences} sentences, seed {seed}.",
    ]


def write_sentences(path: Path, rows: list[Row], tokenizer: Tokenizer, sentences: list[Sentence]) -> None:
    """One JSON object a photo, as `lrcn caption` writes them."""
    records = [
        {
            "path": row.path,
            "caption": tokenizer.sentence(sentence.words, finished=sentence.finished),
            "log_prob": round(sentence.log_prob, 4),
        }
        for row, sentence in zip(rows, sentences, strict=True)
    ]
    write_whole(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def finished(
    recipe: Any, out: Path, values: dict[str, Any], lines: Mapping[str, Sequence[str]], use: str
) -> Result:
    """Writes `metrics.json`, `recipe.yaml` and `curves.png` beside a model folder, and says what there is.

    Args:
        recipe: what was done.
        out: the run's folder.
        values: what was measured.
        lines: the same for a terminal, by split.
        use: see `Result`.
    """
    write_whole(out / "metrics.json", json.dumps(values, indent=2) + "\n")
    write_whole(out / "recipe.yaml", to_yaml(recipe))
    stretches = [name for name in _STRETCHES if getattr(recipe, name, None) is not None]
    draw_curves(out, [name.replace("_", "-") for name in stretches])
    told = [f"{name}: {line}" for name, found in lines.items() for line in found]
    return Result(out / "model", values, told, use)
