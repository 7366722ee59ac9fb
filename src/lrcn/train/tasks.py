"""What is learned: a task turns a batch into a loss and a model into a dev score, so that the loop knows neither."""

from dataclasses import dataclass

from torch import Tensor, nn

from lrcn.data.datasets import ClipSource
from lrcn.evaluate.recognition import measure
from lrcn.models.recognizer import IGNORED, step_labels
from lrcn.train.loop import Batch


@dataclass
class RecognitionTask:
    """Cross-entropy with the label at every step (the paper, section 4), mean over all valid steps of the batch.

    Attributes:
        clips: training clips, as frames or as cached features.
        dev: clips whose accuracy chooses the weights; None chooses the last.
        label_smoothing: share of the target spread over the other classes.
    """

    clips: ClipSource
    dev: ClipSource | None = None
    label_smoothing: float = 0.0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch."""
        lengths = batch["lengths"]
        scores = model(batch.get("frames"), lengths, maps=batch.get("maps"))
        targets = step_labels(batch["labels"], scores.shape[1], lengths)
        return nn.functional.cross_entropy(
            scores.flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        )

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """Accuracy on the dev clips; the score is that of clips, ties broken by frames."""
        if self.dev is None:
            return None
        metrics = measure(model, self.dev)  # type: ignore[arg-type]
        return {
            "score": metrics.accuracy + 1e-3 * metrics.frame_accuracy,
            "accuracy": metrics.accuracy,
            "frame_accuracy": metrics.frame_accuracy,
        }
