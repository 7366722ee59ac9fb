"""Images of motion: optical flow, or plain differences, between neighbouring frames as 8-bit pictures.

What a second network reads beside one that reads colours (Donahue et al. 2015, section 4; the formulas are those of
`create_flow_images_LRCN.m` and `data_transformer.cpp` of the authors' code, which used the flow of Brox et al. 2004).
A flow image holds, with u pixels to the right and v pixels down since the frame before:

    red = 16 u + 128,   green = 16 v + 128,   blue = 16 |(u, v)| + 128,   each cut off at 0 and 255
"""

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from urllib.request import getproxies

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from lrcn.data.history import MotionHistory
from lrcn.errors import LrcnError

Kind = Literal["none", "difference", "flow", "history"]
Method = Literal["dis", "farneback", "tvl1", "raft_small", "raft_large"]
Preset = Literal["ultrafast", "fast", "medium"]
Frames = NDArray[np.uint8]
"""uint8 (T,3,H,W), RGB."""

SMALLEST_FLOW = 16
"""Pixels a side below which DIS finds nothing to hold on to."""

_STILL = 128
_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# RAFT compares maps of an eighth of the frame over four halvings, so it reads nothing smaller.
_RAFT_STRIDE, _RAFT_SMALLEST = 8, 128


@dataclass(frozen=True)
class MotionConfig:
    """What is made of the frames before the network reads them; the defaults leave them as they are.

    Attributes:
        kind: "none" leaves colours; "difference" is `128 + gain (now - before)` per colour; "flow" is optical flow;
            "history" is the grey picture with a fast and a slow trace of what changed before it (`history.py`).
        method: how flow is estimated. "dis" (Kroeger et al. 2016) is for use on a CPU; "farneback" (2003); "tvl1" (Zach
            et al. 2007) is slow and nearest to older two-stream work; "raft_small" and "raft_large" (Teed and Deng
            2020) are networks and want a GPU.
        preset: how thorough "dis" is.
        scale: grey levels of a flow image per pixel of motion; the paper's 16 cuts off at 8 pixels a frame.
        gain: what a difference is multiplied by, 0.5 never cuts off; of "history" also.
        decay: what the two traces of "history" keep from frame to frame, from 0 to below 1, the fast one first.
        weights: of RAFT: "torchvision" (its download, kept by torch.hub), a local .safetensors file in torchvision's
            key layout, or "none" (random: for measuring speed).

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    kind: Kind = "none"
    method: Method = "dis"
    preset: Preset = "fast"
    scale: float = 16.0
    gain: float = 1.0
    decay: tuple[float, float] = (0.5, 0.85)
    weights: str = "torchvision"

    def __post_init__(self) -> None:
        for name, choices in (("kind", Kind), ("method", Method), ("preset", Preset)):
            if getattr(self, name) not in get_args(choices):
                raise LrcnError(
                    f'motion.{name} is "{getattr(self, name)}"; give one of {", ".join(get_args(choices))}.'
                )
        for name in ("scale", "gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise LrcnError(f"motion.{name} is {getattr(self, name)}; give a number above 0.")
        if not 0 <= self.decay[0] <= self.decay[1] < 1:
            raise LrcnError(
                f"motion.decay is {list(self.decay)}; give two shares from 0 to below 1, the smaller first."
            )

    @property
    def steps(self) -> "tuple[MotionConfig | MotionHistory, ...]":
        """What is done to the frames, as steps of a `Preparation`."""
        if self.kind == "none":
            return ()
        return (MotionHistory(self.decay, self.gain),) if self.kind == "history" else (self,)

    @property
    def files(self) -> tuple[Path, ...]:
        """What an image follows from beside the frames: weights that lie here, which may be trained anew.

        Raises:
            LrcnError: they are not there.
        """
        if (
            self.kind != "flow"
            or not self.method.startswith("raft")
            or self.weights in ("torchvision", "none")
        ):
            return ()
        path = Path(self.weights).expanduser()
        if not path.is_file():
            raise LrcnError(
                f'motion.weights is {self.weights}, which is not there; give a .safetensors file, or "torchvision" to '
                "fetch them."
            )
        return (path,)

    @property
    def reach(self) -> int:
        """How many frames before its own an image follows from."""
        return 0 if self.kind == "none" else 1

    def images(
        self, frames: Frames, before: NDArray[np.uint8] | None = None
    ) -> tuple[Frames, NDArray[np.uint8] | None]:
        """The image of each frame, from its motion since the one before.

        Pictures that are equal have not moved, whatever the method. A film taken in pieces, each with what the piece
        before it returned, gives the images of one pass.

        Args:
            frames: uint8 (T,3,H,W).
            before: the frame (3,H,W) that came before them; without one the first image is that of no motion, 128.

        Returns:
            uint8 (T,3,H,W), and the last frame.

        Raises:
            LrcnError: the weights of RAFT cannot be had.
        """
        if self.kind == "none" or not len(frames):
            return frames, before
        look, compare = self._ways()
        images = np.empty_like(frames)
        seen = None if before is None else look(before)
        for image, frame in zip(images, frames, strict=True):
            now = look(frame)
            image[:] = _STILL if seen is None else compare(seen, now)
            seen = now
        return images, frames[-1].copy()

    def flow(self, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow (H,W,2), in pixels to the right and down, by which `before` (3,H,W) became `now`, whatever the kind.

        Raises:
            LrcnError: the weights of RAFT cannot be had.
        """
        look, find = self._finding()
        return find(look(before), look(now))

    def _ways(self) -> tuple[Callable[[NDArray[np.uint8]], Any], Callable[[Any, Any], NDArray[np.uint8]]]:
        """What is kept of a frame, and the image that two of these give."""
        if self.kind == "difference":
            return _as_is, partial(difference, gain=self.gain)
        look, find = self._finding()
        return look, lambda before, now: encoded(find(before, now), self.scale)

    def _finding(
        self,
    ) -> tuple[Callable[[NDArray[np.uint8]], Any], Callable[[Any, Any], NDArray[np.float32]]]:
        """What is kept of a frame, and the flow that two of these give."""
        if self.method in ("raft_small", "raft_large"):
            return _as_is, partial(_raft_flow, _raft(self.method, self.weights, _raft_device()))
        return _grey, _estimator(self.method, self.preset)


def encoded(flow: NDArray[np.float32], scale: float = 16.0) -> NDArray[np.uint8]:
    """The picture uint8 (3,H,W) of flow (H,W,2) in pixels."""
    u, v = cv2.split(flow)
    # cv2 rounds and cuts off in one pass, three times as fast as numpy.
    channels = (cv2.addWeighted(x, scale, x, 0, _STILL, dtype=cv2.CV_8U) for x in (u, v, cv2.magnitude(u, v)))
    return np.stack(list(channels)).astype(np.uint8, copy=False)


def difference(before: NDArray[np.uint8], now: NDArray[np.uint8], gain: float = 1.0) -> NDArray[np.uint8]:
    """The picture uint8 (3,H,W) of what changed between two frames (3,H,W)."""
    # In two dimensions, as cv2 takes the last of three for colours.
    flat = (now.reshape(-1, now.shape[-1]), before.reshape(-1, now.shape[-1]))
    return np.asarray(cv2.addWeighted(flat[0], gain, flat[1], -gain, _STILL), np.uint8).reshape(now.shape)


def mirrored(images: Tensor) -> Tensor:
    """Flow images (T,3,H,W) of the same film mirrored left to right: what moved right moves left, 255 - red."""
    images = images.flip(-1)
    images[:, 0] = 255 - images[:, 0]
    return images


def with_motion_of(images: Tensor, degrees: float, zoom: float) -> Tensor:
    """Flow images (T,3,H,W) whose places were turned anticlockwise and enlarged: their motion is so too."""
    if degrees == 0 and zoom == 1:
        return images
    along, across = (zoom * part(math.radians(degrees)) for part in (math.cos, math.sin))
    u, v, length = (images.float() - _STILL).unbind(1)
    moved = torch.stack([along * u + across * v, along * v - across * u, zoom * length], 1)
    return (moved + _STILL).round().clamp(0, 255).to(torch.uint8)


def with_motion_stretched(images: Tensor, across: float, down: float) -> Tensor:
    """Flow images (T,3,H,W) whose places were stretched across and down: their motion is so too."""
    u, v, _ = (images.float() - _STILL).unbind(1)
    u, v = across * u, down * v
    moved = torch.stack([u, v, torch.hypot(u, v)], 1)
    return (moved + _STILL).round().clamp(0, 255).to(torch.uint8)


def _as_is(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frame)


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Merged by cv2, which is ten times as fast as a transposed copy.
    return np.asarray(cv2.cvtColor(cv2.merge(list(frame)), cv2.COLOR_RGB2GRAY), np.uint8)


def _estimator(method: Method, preset: Preset) -> Callable[[Any, Any], NDArray[np.float32]]:
    """Flow (H,W,2) from two grey pictures (H,W); made anew for each use, as cv2's are not for two threads."""
    # Types of cv2's contributed modules are unknown.
    tools: Any = cv2
    if method == "dis":
        find = partial(tools.DISOpticalFlow_create(_PRESETS[preset]).calc, flow=None)
    elif method == "tvl1":
        find = partial(tools.optflow.DualTVL1OpticalFlow_create().calc, flow=None)
    else:
        settings = {
            "pyr_scale": 0.5,
            "levels": 3,
            "winsize": 15,
            "iterations": 3,
            "poly_n": 5,
            "poly_sigma": 1.2,
        }
        find = partial(tools.calcOpticalFlowFarneback, flow=None, flags=0, **settings)

    def estimate(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32]:
        if np.array_equal(before, now):
            return np.zeros((*now.shape, 2), np.float32)
        return np.asarray(find(before, now), np.float32)

    return estimate


def _raft_device() -> torch.device:
    # A loader process cannot use the GPU that its parent uses.
    return torch.device("cuda" if torch.cuda.is_available() and get_worker_info() is None else "cpu")


@torch.inference_mode()
def _raft_flow(network: nn.Module, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Flow (H,W,2) by RAFT from two frames (3,H,W), one pair at a time so that pieces give what one pass gives."""
    height, width = now.shape[1:]
    if np.array_equal(before, now):
        return np.zeros((height, width, 2), np.float32)
    size = [max(_RAFT_SMALLEST, math.ceil(side / _RAFT_STRIDE) * _RAFT_STRIDE) for side in (height, width)]
    device = next(network.parameters()).device
    pair = torch.from_numpy(np.stack([before, now])).to(device).float() / 127.5 - 1
    if size != [height, width]:
        pair = nn.functional.interpolate(pair, size, mode="bilinear", antialias=True)
    flow = network(pair[:1], pair[1:])[-1]
    if size != [height, width]:
        flow = nn.functional.interpolate(flow, (height, width), mode="bilinear", antialias=True)
        flow = flow * flow.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
    return np.asarray(flow[0].permute(1, 2, 0).cpu().numpy(), np.float32)


@lru_cache(maxsize=2)
def _raft(method: Method, weights: str, device: torch.device) -> nn.Module:
    from torchvision.models import get_model  # type: ignore[import-untyped]

    # Its random weights are the same every time, and leave the chances of others alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = get_model(method, weights=None)
    if weights != "none":
        tensors = _downloaded(method) if weights == "torchvision" else _read(weights)
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise LrcnError(
                f"motion.weights is {weights}, which does not hold the weights of {method}; give a .safetensors file "
                "in torchvision's key layout."
            ) from error
    return network.to(device).eval()


def _read(weights: str) -> dict[str, Tensor]:
    try:
        return load_file(Path(weights).expanduser())
    except (OSError, SafetensorError) as error:
        raise LrcnError(
            f"motion.weights is {weights}, which cannot be read as a .safetensors file ({error}); give one, or "
            '"torchvision" to fetch them.'
        ) from error


def _downloaded(method: Method) -> dict[str, Tensor]:
    """The weights that torchvision offers, read as tensors alone: nothing in the file is run."""
    from torchvision.models import get_model_weights

    address = urlsplit(get_model_weights(method).DEFAULT.url)
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(address.path).name
    try:
        if not kept.exists() and not getproxies().get(address.scheme):
            # Asked first, because a download waits for minutes before it gives up.
            socket.create_connection((address.hostname or "", 443), timeout=5).close()
        tensors: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            address.geturl(), map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # torch.hub passes on whatever goes wrong on the way
        raise LrcnError(
            f"The weights of {method} could not be fetched from torchvision's server ({type(error).__name__}); give a "
            'local .safetensors file with motion.weights, or take motion.method "dis", which needs none.'
        ) from error
    return tensors
