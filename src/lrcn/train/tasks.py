"""What is learned: a task turns a batch into a loss and a model into a dev score, so that the loop knows neither."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from lrcn.data.datasets import ClipSource
from lrcn.data.sampling import Sampling
from lrcn.data.streams import Streams
from lrcn.errors import LrcnError
from lrcn.evaluate import detection
from lrcn.evaluate.recognition import measure
from lrcn.models.heads import Verdict
from lrcn.models.recognizer import IGNORED, step_labels
from lrcn.models.recurrent import State
from lrcn.train.loop import Batch

ClipLoss: TypeAlias = Literal["probability", "score"]


@dataclass
class RecognitionTask:
    """Cross-entropy with the label at every step (the paper, section 4), mean over all valid steps of the batch.

    Attributes:
        clips: training clips, as frames or as cached features, or laid end to end in streams.
        dev: clips whose accuracy chooses the weights; None chooses the last.
        label_smoothing: share of the target spread over the other classes.
        step_loss: share of the loss that is taken at every step; the rest is that of each clip as a whole, by which
            alone attention learns. None is 1, and one half where the head pools by attention.
        clip_loss: what that rest is taken of: the clip's "probability", or the mean "score" of its steps.
        sampling: how dev clips are read, see `measure`.
    """

    clips: ClipSource | Streams
    dev: ClipSource | None = None
    label_smoothing: float = 0.0
    step_loss: float | None = None
    clip_loss: ClipLoss = "probability"
    sampling: Sampling | None = None

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch.

        Raises:
            LrcnError: clips as a whole are to be learned, and have a label per frame.
        """
        recognizer: Any = model
        lengths, labels = batch["lengths"], batch["labels"]
        verdict = recognizer.judge(batch.get("frames"), lengths, maps=batch.get("maps"))
        share = self._share(recognizer)
        loss = share * self._cross_entropy(
            verdict.scores, step_labels(labels, verdict.scores.shape[1], lengths)
        )
        if share == 1:
            return loss
        if labels.ndim > 1:
            raise LrcnError(
                "These clips have a label per frame, from which attention over the clip learns nothing: set "
                "model.head.pool to mean, and step_loss to 1."
            )
        return loss + (1 - share) * self._cross_entropy(self._of_clip(verdict), labels)

    def stream_loss(self, model: nn.Module, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """The loss at every step of a batch of streams, and the state to go on from, through which no gradient goes."""
        recognizer: Any = model
        scores, after = recognizer.unroll(
            batch.get("frames"), state=state, maps=batch.get("maps"), cont=batch["cont"]
        )
        return self._cross_entropy(scores, batch["labels"]), {
            name: value.detach() for name, value in after.items()
        }

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """Accuracy on the dev clips; the score is that of clips, ties broken by frames."""
        if self.dev is None:
            return None
        metrics = measure(model, self.dev, sampling=self.sampling)  # type: ignore[arg-type]
        return {
            "score": metrics.accuracy + 1e-3 * metrics.frame_accuracy,
            "accuracy": metrics.accuracy,
            "frame_accuracy": metrics.frame_accuracy,
        }

    def _of_clip(self, verdict: Verdict) -> Tensor:
        """Logits (B, K) of each clip as a whole."""
        if self.clip_loss == "probability":
            return verdict.log_probabilities  # logits of themselves
        weights = verdict.weights[..., None]
        # What stands past a clip's length has no weight, and may be no number.
        return (weights * verdict.scores.masked_fill(weights == 0, 0)).sum(1)

    def _share(self, recognizer: Any) -> float:
        if self.step_loss is not None:
            return self.step_loss
        return 0.5 if recognizer.config.head.pool == "attention" else 1.0

    def _cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Mean over all targets that count, (...) of scores (..., K); 0 where none does."""
        total = nn.functional.cross_entropy(
            scores.flatten(0, -2).float(),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / (targets != IGNORED).sum().clamp(min=1)


@dataclass
class DetectionTask(RecognitionTask):
    """The same on whole videos with timed segments, laid end to end.

    Attributes:
        background: the class that is nobody's aim; empty: there is none.
    """

    background: str = ""

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """What is found of the dev videos; the score is the mean average precision over frames."""
        if self.dev is None:
            return None
        metrics = detection.measure(model, self.dev, self.background)  # type: ignore[arg-type]
        return {
            "score": metrics.frame_map,
            "frame_map": metrics.frame_map,
            "frame_accuracy": metrics.frame_accuracy,
            **{f"f1@{overlap}": value for overlap, value in metrics.f1.items()},
        }
