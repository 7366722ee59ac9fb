"""A recogniser one frame at a time, for one stream or for many in one batch, as fast as torch lets it.

BatchNorm is folded away, the recurrent step is two small products, and a frame that is equal to the one before (a
camera that is slower than the model's rate, a picture that stands still) does not go through the CNN again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrcn.errors import LrcnError
from lrcn.models.folded import folded
from lrcn.models.recognizer import Recognizer
from lrcn.models.recurrent import NO_STREAM, State

Image = NDArray[np.uint8]
"""uint8 (3, H, W), as the network reads it."""

_ON_A_CPU, _ON_A_GPU = 16, 256
"""Streams in one batch; on a CPU more are no faster."""


@dataclass(frozen=True)
class Memory:
    """What a stream's network remembers; a new one is made at every step.

    Attributes:
        state: the recogniser's state, one row of it.
        image: the frame before, and
        squeezed: what the CNN made of it (1, C, ...): not part of what is saved, as both can be had again.
    """

    state: State
    image: Image | None = None
    squeezed: Tensor | None = None


class OneStep:
    """The network of one or many streams.

    Args:
        model: is copied, and stays as it is.

    Raises:
        LrcnError: the network reads the future.
    """

    def __init__(self, model: Recognizer) -> None:
        if not model.causal:
            raise LrcnError(NO_STREAM)
        self.model = folded(model)
        self._device = self.model.encoder.mean.device
        self.at_once = _ON_A_CPU if self._device.type == "cpu" else _ON_A_GPU

    @cached_property
    def fingerprint(self) -> str:
        """Hex digits that follow from the weights: a memory is of use to the network alone that made it."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:32]

    def fresh(self) -> Memory:
        """What a stream remembers before its first frame: nothing."""
        return Memory(self.model.initial_state(1))

    @torch.inference_mode()
    def step(
        self, images: Sequence[Image], memories: Sequence[Memory]
    ) -> tuple[NDArray[np.float32], list[Memory]]:
        """The next frame of each of B streams and what each remembers -> probabilities (B, K), and what it then does.

        The streams' frames are of one size.
        """
        model = self.model
        squeezed = self._squeezed(images, memories)
        before = _stacked([memory.state for memory in memories])
        feature = model.reading(squeezed[:, None], before)[:, 0]
        output, after = model.recurrent.step(feature, before)
        after = after | model.reading.after(squeezed[:, None])
        probabilities = model.classifier(output).float().softmax(-1).cpu().numpy()
        rows = [{name: _row(value, i) for name, value in after.items()} for i in range(len(images))]
        return probabilities, [
            Memory(row, image, _row(squeezed, i))
            for i, (row, image) in enumerate(zip(rows, images, strict=True))
        ]

    def to_arrays(self, memory: Memory) -> dict[str, NDArray[np.float32]]:
        """What has to be kept of a memory, by name."""
        return {name: value.float().cpu().numpy() for name, value in memory.state.items()}

    def from_arrays(self, arrays: dict[str, NDArray[np.float32]]) -> Memory:
        """The memory that `to_arrays` told.

        Raises:
            ValueError: it is another network's.
        """
        fresh = self.fresh().state
        shapes = {name: tuple(value.shape) for name, value in fresh.items()}
        if shapes != {name: value.shape for name, value in arrays.items()}:
            raise ValueError(f"a memory of {sorted(arrays)} is not that of this network")
        return Memory(
            {name: torch.from_numpy(arrays[name].copy()).to(value) for name, value in fresh.items()}
        )

    def _squeezed(self, images: Sequence[Image], memories: Sequence[Memory]) -> Tensor:
        """The maps of each image (B, C, ...), made anew only where the image is new."""
        rows = [
            memory.squeezed if memory.image is not None and np.array_equal(image, memory.image) else None
            for image, memory in zip(images, memories, strict=True)
        ]
        new = [image for image, row in zip(images, rows, strict=True) if row is None]
        if new:
            made = iter(torch.split(self._encoded(new), 1))
            rows = [next(made) if row is None else row for row in rows]
        return _joined([row for row in rows if row is not None])

    def _encoded(self, images: list[Image]) -> Tensor:
        batch = images[0][None] if len(images) == 1 else np.stack(images)
        encoded: Tensor = self.model.encoder(torch.from_numpy(batch).to(self._device))
        return encoded


def _stacked(states: Sequence[State]) -> State:
    return {name: _joined([state[name] for state in states]) for name in states[0]}


def _joined(rows: Sequence[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


def _row(batch: Tensor, place: int) -> Tensor:
    # A view would keep the whole batch for as long as the slowest of its streams keeps its row.
    return batch if len(batch) == 1 else batch[place : place + 1].clone()
