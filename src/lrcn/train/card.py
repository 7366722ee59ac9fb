"""The model card: what a model is, from what it was made, and what was measured."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from lrcn.config import to_yaml
from lrcn.evaluate.detection import DetectionMetrics
from lrcn.evaluate.recognition import RecognitionMetrics
from lrcn.train.recipe import Recipe
from lrcn.train.splits import Split, clips_in

NO_SPREAD = "One run, no spread: repeat it with other seeds before comparing."
"""What stands below the numbers of a single run."""


class Named(Protocol):
    """What every recipe says of itself."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def description(self) -> str:
        """What it is for; may be empty."""


def card(recipe: Named, about: str, facts: Iterable[str]) -> str:
    """Markdown for a model folder's README.md.

    Args:
        recipe: how the model was made.
        about: stands in place of a description where the recipe has none.
        facts: paragraphs: from what it was made, and what was measured.
    """
    made = f"**How it was made**: `lrcn train recipe.yaml` with\n\n```yaml\n{to_yaml(recipe)}```"
    return "\n\n".join([f"# {recipe.name}", recipe.description.strip() or about, *facts, made]) + "\n"


def model_card(
    recipe: Recipe, split: Split, metrics: Mapping[str, RecognitionMetrics | DetectionMetrics]
) -> str:
    """The card of a recogniser."""
    facts = [
        f"**Classes** ({len(split.labels)}): {', '.join(split.labels)}.",
        f"**Trained on** {clips_in(split.train)} clips, seed {recipe.train.seed}.",
    ]
    if metrics:
        facts += ["\n".join(_table(metrics)), NO_SPREAD]
    return card(recipe, "A recurrent convolutional network trained with lrcn.", facts)


def _table(metrics: Mapping[str, RecognitionMetrics | DetectionMetrics]) -> list[str]:
    clips = [
        f"| {name} | {len(found.truths)} | {found.accuracy:.1%} | {found.mean_class_accuracy:.1%} | "
        f"{found.frame_accuracy:.1%} |"
        for name, found in metrics.items()
        if isinstance(found, RecognitionMetrics)
    ]
    if clips:
        return [
            "| split | clips | clip accuracy | mean over classes | frames |",
            "|---|---|---|---|---|",
            *clips,
        ]
    videos = [
        f"| {name} | {found.videos} | {found.frame_accuracy:.1%} | {found.frame_map:.1%} | {found.f1[50]:.1%} |"
        for name, found in metrics.items()
        if isinstance(found, DetectionMetrics)
    ]
    return ["| split | videos | frames | frame mAP | F1@50 |", "|---|---|---|---|---|", *videos]
