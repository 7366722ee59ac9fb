"""Clips as a describer of shots is given them, with their sentences, in training and in tests."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lrcn.data.datasets import Item
from lrcn.data.described_moves import DescribedMoves
from lrcn.data.photos import CaptionedPhotos, collate_captioned
from lrcn.data.sampling import Sampling
from lrcn.fingerprint import fingerprint
from lrcn.models.folder import Loaded


class WatchedClips:
    """Clips as a describer of shots is given them: key frames, and what the recogniser says of all frames.

    Args:
        clips: gives "frames" uint8 (T,3,S,S).
        key_frames: F.
        recognizer: what watches; None for a model that is told of no motion.
    """

    def __init__(self, clips: DescribedMoves, key_frames: int, recognizer: Loaded | None) -> None:
        self.clips = clips
        self.key_frames = Sampling(frames=key_frames, spread="uniform")
        self.recognizer = recognizer
        tensors = {} if recognizer is None else recognizer.model.state_dict()
        weights = [float(value.double().sum()) for value in tensors.values()]
        self._made_by = fingerprint(weights, recognizer and recognizer.preprocess)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """{"frames": uint8 (F,3,S,S), "seen": float32 (K,) where something watches, "index": int}."""
        item = self.clips.item(index, view)
        frames: Tensor = item["frames"]
        chosen = frames[torch.from_numpy(self.key_frames.pick(len(frames)))]
        seen = {} if self.recognizer is None else {"seen": _watched(self.recognizer, frames)}
        return {"frames": chosen, **seen, "index": index}

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        return fingerprint("watched", self.clips.key(index, view), self.key_frames, self._made_by)


class DescribedShots(CaptionedPhotos):
    """Clips as `WatchedClips` gives them, or their features, with their sentences."""

    @staticmethod
    def join(items: Sequence[Item]) -> dict[str, Tensor]:
        """What `collate_captioned` makes of them; "frames" or "maps" are (N,F,...), "seen" (N,K)."""
        content = "maps" if "maps" in items[0] else "frames"
        batch = collate_captioned([{**item, content: item[content][None]} for item in items])
        return batch | _seen(items)


def shown(items: Sequence[Item]) -> dict[str, Tensor]:
    """Items of `WatchedClips`, by the names of the arguments of `ShotDescriber.initial_state`."""
    content = "maps" if "maps" in items[0] else "frames"
    return {content: torch.stack([item[content] for item in items]), **_seen(items)}


def _seen(items: Sequence[Item]) -> dict[str, Tensor]:
    return {"seen": torch.stack([item["seen"] for item in items])} if "seen" in items[0] else {}


def _watched(recognizer: Loaded, frames: Tensor) -> Tensor:
    """The recogniser's probabilities (K,), mean over the clip of frames uint8 (T,3,S,S)."""
    resize = recognizer.preprocess.preparation().resize
    small = np.stack([resize(frame.permute(1, 2, 0).numpy()) for frame in frames])
    device = recognizer.model.classifier.weight.device
    given = torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()[None].to(device)
    with torch.no_grad():
        seen: Tensor = recognizer.model(given)[0].softmax(-1).mean(0).float().cpu()
    return seen
