"""Maps of a video's frames, as they come -> what a recogniser says: of the whole as one stream, or of clips."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrcn.data.sampling import Sampling
from lrcn.models.recognizer import Recognizer
from lrcn.models.recurrent import State


class Seen(NamedTuple):
    """What one protocol says of one video."""

    times: NDArray[np.float64]
    """(T,), seconds."""
    per_frame: NDArray[np.float32]
    """(T, K) probabilities."""
    starts: NDArray[np.float64]
    """(N,), seconds, of the clips that were judged alone."""
    clips: NDArray[np.float32]
    """(N, K) probabilities."""
    video: NDArray[np.float64]
    """(K,) probabilities."""


class Stream:
    """Reads a video as one sequence."""

    def __init__(self, network: Recognizer) -> None:
        self.network = network
        self.state: State | None = None
        self.kept: list[Tensor] = []
        self.rows: list[NDArray[np.float32]] = []

    def read(self, maps: Tensor) -> None:
        """The next frames' maps (1, T, ...)."""
        if self.network.needs_whole_clip:
            self.kept.append(maps)
            return
        scores, self.state = self.network.unroll(maps=maps, state=self.state)
        self.rows.append(_probabilities(scores[0]))

    def seen(self, times: NDArray[np.float64]) -> dict[str, Seen]:
        """What was said of the video whose frames are at `times`."""
        if self.kept:
            verdict = self.network.judge(maps=torch.cat(self.kept, 1))
            per_frame = _probabilities(verdict.scores[0])
            video = verdict.log_probabilities[0].float().exp().cpu().numpy().astype(np.float64)
        else:
            per_frame = np.concatenate(self.rows)
            last = self.network.config.head.pool == "last"
            video = per_frame[-1].astype(np.float64) if last else per_frame.mean(0, dtype=np.float64)
        return {"stream": Seen(times, per_frame, times[:1], video[None].astype(np.float32), video)}


class Clips:
    """Reads a video in clips, each from a fresh state as soon as its last frame is there.

    Args:
        network: reads them.
        frames: of a clip.
        stride: frames from the start of one clip to that of the next.
        shares: protocol -> the share (S,) of each crop in what it says.
    """

    def __init__(self, network: Recognizer, frames: int, stride: int, shares: Mapping[str, Tensor]) -> None:
        self.network = network
        self.windows = Sampling(frames=frames, stride=stride).windows
        self.frames, self.stride = frames, stride
        self.shares = shares
        self.recent = torch.empty(0)
        self.count = self.done = 0
        self.steps: dict[str, list[NDArray[np.float32]]] = {name: [] for name in shares}
        self.clips: dict[str, list[NDArray[np.float32]]] = {name: [] for name in shares}

    def read(self, maps: Tensor) -> None:
        """The next frames' maps (S, T, ...)."""
        self.recent = torch.cat([self.recent, maps], 1) if self.count else maps
        self.count += maps.shape[1]
        # Only windows that are whole now and would be whatever follows.
        ready = max(0, (self.count - self.frames) // self.stride + 1)
        self._judge([slice(k * self.stride, k * self.stride + self.frames) for k in range(self.done, ready)])
        self.done = max(self.done, ready)
        self.recent = self.recent[:, -self.frames :]

    def seen(self, times: NDArray[np.float64]) -> dict[str, Seen]:
        """What was said of the video whose frames are at `times`."""
        windows = self.windows(self.count)
        # The last ones depend on where the video ended; they lie within its last `frames` frames.
        self._judge(windows[self.done :])
        starts = times[[window.start for window in windows]]
        found = {}
        for name in self.shares:
            clips = np.concatenate(self.clips[name])
            per_frame = _at_each_frame(windows, np.concatenate(self.steps[name]), self.count)
            found[name] = Seen(times, per_frame, starts, clips, clips.mean(0, dtype=np.float64))
        return found

    def _judge(self, windows: Sequence[slice]) -> None:
        if not windows:
            return
        offset = self.count - self.recent.shape[1]
        maps = torch.stack([self.recent[:, w.start - offset : w.stop - offset] for w in windows], 1)
        verdict = self.network.judge(maps=maps.flatten(0, 1))
        steps = verdict.scores.float().softmax(-1)
        steps = steps.reshape(*maps.shape[:2], *steps.shape[1:])
        clips = verdict.log_probabilities.float().exp().reshape(*maps.shape[:2], -1)
        for name, shares in self.shares.items():
            self.steps[name].append(torch.einsum("s,swtk->wtk", shares.to(steps), steps).cpu().numpy())
            self.clips[name].append(torch.einsum("s,swk->wk", shares.to(clips), clips).cpu().numpy())


def _at_each_frame(windows: Sequence[slice], steps: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The mean (T, K) over the windows that hold a frame, of their probabilities at it (W, t, K)."""
    sums = np.zeros((count, steps.shape[-1]))
    holds = np.zeros((count, 1))
    for window, part in zip(windows, steps, strict=True):
        sums[window] += part
        holds[window] += 1
    # With a stride above their length, windows leave frames out; these keep what was said before them.
    held = np.maximum.accumulate(np.where(holds[:, 0] > 0, np.arange(count), 0))
    mean: NDArray[np.float32] = (sums[held] / holds[held]).astype(np.float32)
    return mean


def _probabilities(scores: Tensor) -> NDArray[np.float32]:
    """Scores (T, K) -> probabilities on the CPU."""
    return np.asarray(scores.float().softmax(-1).cpu().numpy())
