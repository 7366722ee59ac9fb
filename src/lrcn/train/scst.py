"""Learning from one's own sentences: self-critical training on CIDEr-D (Rennie et al. 2017).

Sentences are drawn from the network; the reward of each is what it scores above a baseline, and those that score higher
become more probable. The baseline is what the greedy sentence scores (Rennie et al., equation 9), or the mean of the
other sentences drawn about the photo (Luo 2020), which needs no greedy pass. The end of a sentence is a word of the
reward too: without it sentences learn to break off after "with a".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lrcn.data.datasets import IGNORED_LABEL
from lrcn.data.photos import CaptionedPhotos
from lrcn.data.tokenizer import EOS, Tokenizer, split_words
from lrcn.errors import LrcnError
from lrcn.evaluate.captions import CiderD
from lrcn.generate import Decoding, Sentence, greedy, sample
from lrcn.models.captioner import Captioner
from lrcn.train.caption_tasks import DevJudge, spoken
from lrcn.train.loop import Batch, LoopConfig
from lrcn.train.optim import OptimConfig
from lrcn.train.photo_splits import PhotoPart

_END = "</s>"


def _usual() -> LoopConfig:
    return LoopConfig(epochs=5, batch=16, optim=OptimConfig(lr=5e-5, schedule="constant", warmup=0.0))


@dataclass(frozen=True)
class SelfCritical:
    """The stage after likelihood training.

    Attributes:
        samples: sentences drawn about each photo.
        baseline: "mean" of the other sentences drawn, or "greedy".
        loop: how long and in which portions; a batch is of photos.
    """

    samples: int = 5
    baseline: Literal["mean", "greedy"] = "mean"
    loop: LoopConfig = field(default_factory=_usual)

    def __post_init__(self) -> None:
        least = 2 if self.baseline == "mean" else 1
        if self.samples < least:
            raise LrcnError(
                f"self_critical.samples is {self.samples}: with the baseline {self.baseline} give {least} or more."
            )


class SelfCriticalTask:
    """Sentences drawn from the network, made more or less probable as they score.

    Nothing is dropped out, so that the sentences are the network's own.

    Args:
        clips: photos; their sentences are not used, their captions are the references.
        train: the rows behind them.
        dev: photos whose CIDEr-D chooses the weights.
        tokenizer: the vocabulary.
        select: how the sentences about dev photos are chosen.
        config: the stage.
    """

    def __init__(
        self,
        clips: CaptionedPhotos,
        train: PhotoPart,
        dev: PhotoPart | None,
        tokenizer: Tokenizer,
        select: Decoding,
        config: SelfCritical,
    ) -> None:
        self.clips = clips
        self.config = config
        self.tokenizer = tokenizer
        self.judge = None if dev is None else DevJudge(dev, tokenizer, select)
        references = {
            str(index): [" ".join([*split_words(caption, tokenizer.rule), _END]) for caption in row.captions]
            for index, row in enumerate(train.rows)
        }
        self.cider = CiderD(references, tokenized=True)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Minus the mean over all words drawn of log-probability times advantage."""
        captioner: Any = model
        _drop_nothing(model)
        drawn, best = self._drawn(captioner, batch)
        advantages = self._advantages(drawn, best, batch["index"].tolist())
        told, advantage = _told(drawn, advantages, batch)
        scores, said = spoken(captioner, told)
        log_probs = -nn.functional.cross_entropy(scores.float(), said, reduction="none")
        return -(log_probs * advantage).mean()

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """What `DevJudge` says."""
        return None if self.judge is None else self.judge(model)

    @torch.no_grad()
    def _drawn(
        self, model: Captioner, batch: Mapping[str, Tensor]
    ) -> tuple[list[list[Sentence]], list[Sentence]]:
        """Sentences drawn about each photo, and the greedy one where it is the baseline."""
        state = model.initial_state(batch.get("frames"), maps=batch.get("maps"))
        most = self.tokenizer.max_length
        # The loop has seeded torch from (seed, step), so that a resumed run draws the same.
        seeds = torch.randint(2**31, (len(batch["index"]),)).tolist()
        drawn = sample(model.step, state, self.config.samples, seeds=seeds, max_length=most)
        if self.config.baseline == "mean":
            return drawn, []
        return drawn, greedy(model.step, state, max_length=most)

    def _advantages(
        self, drawn: Sequence[Sequence[Sentence]], best: Sequence[Sentence], photos: Sequence[int]
    ) -> list[Tensor]:
        """Of each sentence what it scores above the baseline."""
        own = self._rewards([(photo, one) for photo, some in zip(photos, drawn, strict=True) for one in some])
        rewards = own.view(len(photos), -1)
        if self.config.baseline == "greedy":
            return list(rewards - self._rewards(list(zip(photos, best, strict=True)))[:, None])
        count = rewards.shape[1]
        return list((rewards - rewards.mean(1, keepdim=True)) * count / (count - 1))

    def _rewards(self, pairs: Sequence[tuple[int, Sentence]]) -> Tensor:
        texts = [
            (str(photo), " ".join([*self.tokenizer.decode(one.words), *[_END] * one.finished]))
            for photo, one in pairs
        ]
        return torch.from_numpy(self.cider.scores(texts, tokenized=True)).float()


def _told(
    drawn: Sequence[Sequence[Sentence]], advantages: Sequence[Tensor], batch: Batch
) -> tuple[dict[str, Tensor], Tensor]:
    """The batch with the sentences drawn in place of its own, and the advantage of each of their words (n,)."""
    device = batch["index"].device
    rows = [
        ([*one.words, EOS] if one.finished else list(one.words), place, advantage)
        for place, (some, values) in enumerate(zip(drawn, advantages, strict=True))
        for one, advantage in zip(some, values.tolist(), strict=True)
    ]
    rows.sort(key=lambda row: -len(row[0]))
    said = pad_sequence(
        [torch.tensor(ids) for ids, _, _ in rows], batch_first=True, padding_value=IGNORED_LABEL
    )
    lengths = torch.tensor([len(ids) for ids, _, _ in rows])
    told = {
        "said": said,
        "lengths": lengths,
        "image_of": torch.tensor([place for _, place, _ in rows]),
    }
    advantage = torch.tensor([value for _, _, value in rows]).repeat_interleave(lengths)
    content = "maps" if "maps" in batch else "frames"
    return {content: batch[content], **{k: v.to(device) for k, v in told.items()}}, advantage.to(device)


def _drop_nothing(model: nn.Module) -> None:
    # Not all of `eval`: CUDA's recurrent kernels give gradients in training mode alone.
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
