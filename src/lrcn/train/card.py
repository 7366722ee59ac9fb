"""The model card: what a model is, from what it was made, and what was measured."""

from collections.abc import Mapping

from lrcn.config import to_yaml
from lrcn.evaluate.detection import DetectionMetrics
from lrcn.evaluate.recognition import RecognitionMetrics
from lrcn.train.recipe import Recipe
from lrcn.train.splits import Split, clips_in


def model_card(
    recipe: Recipe, split: Split, metrics: Mapping[str, RecognitionMetrics | DetectionMetrics]
) -> str:
    """Markdown for a model folder's README.md."""
    parts = [
        f"# {recipe.name}",
        recipe.description.strip() or "A recurrent convolutional network trained with lrcn.",
    ]
    parts.append(f"**Classes** ({len(split.labels)}): {', '.join(split.labels)}.")
    parts.append(f"**Trained on** {clips_in(split.train)} clips, seed {recipe.train.seed}.")
    if metrics:
        parts.append("\n".join(_table(metrics)))
        parts.append("One run, no spread: repeat it with other seeds before comparing.")
    parts.append(f"**How it was made**: `lrcn train recipe.yaml` with\n\n```yaml\n{to_yaml(recipe)}```")
    return "\n\n".join(parts) + "\n"


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
