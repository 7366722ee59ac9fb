"""The frame encoder: a CNN applied to each frame alone (Donahue et al. 2015, section 3: weights V tied over time).

Two parts, cut where a feature cache fits: `maps` (the pretrained network, uint8 pixels to feature maps) and `squeeze`
(a 1x1 convolution learned from scratch that makes the maps small). What becomes of them is in `reading.py`.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import group_parameters
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.caffenet import HYBRID_CAFFENET, HybridCaffeNet, Mean
from lrcn.models.plain import PLAIN, PlainCNN, standardized
from lrcn.models.weights import load_weights

Networks = TypeVar("Networks")

_IN_MODEL = "encoder.backbone."
"""What a model folder puts before the names of its network's tensors."""

_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class EncoderConfig:
    """What the frame encoder is.

    Attributes:
        name: any timm model name, "hybrid-caffenet", the paper's own network, or "plain", four layers to be learned
            from nothing (`weights: none`, `tune: -1`).
        weights: "timm" (its hub's pretrained weights), "none" (random), a local .safetensors file in timm's key layout,
            a folder that holds one as model.safetensors (a model folder also), or the name of a model that ships.
        stage: which of the network's feature levels is used (0 is the finest); None is its last.
        pool: "avg" keeps content (one vector a frame), "grid" also keeps where things are, as the paper's fc6 does;
            "fc6" and "fc7" are the layers of hybrid-caffenet, handed on as they are.
        grid: cells on a side that `pool: grid` keeps.
        squeeze: channels a grid cell is reduced to; 0 keeps all.
        tune: how many of the network's stages are trained, counted from its end; 0 freezes it, -1 trains all.
        batchnorm: "frozen" keeps the pretrained statistics even where weights are tuned (frames of one clip are too
            alike to estimate them from); "train" updates them in the tuned stages.
        chunk: frames that go through the network at a time: bounds memory, and on a CPU small chunks stay in its cache.
        dropout: of hybrid-caffenet, on fc6 and fc7 in training, tuned or frozen (the paper: 0.9 under an LSTM, 0.5
            without).
        mean: of hybrid-caffenet, what is taken off the pixels: "imagenet", "released" (the LRCN code's own, with a
            slip in red), or "flow" (128, for flow images).
        width: of hybrid-caffenet and plain, the share of their channels and units that the network has.
        standardize: brings each frame to mean 0 and variance 1 instead of taking off the network's own mean: for
            footage whose light and contrast say nothing.
    """

    name: str = "tf_efficientnet_lite0"
    weights: str = "timm"
    stage: int | None = None
    pool: Literal["avg", "grid", "fc6", "fc7"] = "avg"
    grid: int = 4
    squeeze: int = 64
    tune: int = 0
    batchnorm: Literal["frozen", "train"] = "frozen"
    chunk: int = 16
    dropout: float = 0.5
    mean: Mean = "imagenet"
    width: float = 1.0
    standardize: bool = False

    def __post_init__(self) -> None:
        for name, least in (("grid", 1), ("squeeze", 0), ("tune", -1), ("chunk", 1)):
            if getattr(self, name) < least:
                raise LrcnError(f"encoder.{name} is {getattr(self, name)}: give {least} or more.")
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"encoder.dropout is {self.dropout}: give a number from 0 up to but without 1.")
        if not 0 < self.width <= 1:
            raise LrcnError(f"encoder.width is {self.width}: give a share above 0 and up to 1.")
        if self.is_caffenet != (self.pool in ("fc6", "fc7")):
            raise LrcnError(
                f"encoder.pool is {self.pool} and encoder.name {self.name}: fc6 and fc7 go with {HYBRID_CAFFENET}, "
                "avg and grid with all others."
            )
        if self.is_caffenet and self.stage is not None:
            raise LrcnError(f"encoder.stage is {self.stage}: {self.name} has no levels, leave it out.")

    @property
    def is_caffenet(self) -> bool:
        """Whether this is the paper's own network rather than one of timm's."""
        return self.name == HYBRID_CAFFENET


class FrameEncoder(nn.Module):
    """uint8 frames (N, 3, H, W) -> maps (N, C, g, g) for `pool: grid`, vectors (N, C) otherwise.

    Attributes:
        channels: C, after the squeeze.

    Raises:
        LrcnError: unknown network, or weights that are missing or do not fit it.
    """

    # A timm network, or one with the same face, has methods that nn.Module does not.
    backbone: Any
    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _create_backbone(config)
        settings = self.backbone.pretrained_cfg
        # 0..255 scale, so that uint8 frames are normalised in one step.
        self.register_buffer("mean", 255 * torch.tensor(settings["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(settings["std"]).view(1, -1, 1, 1), persistent=False)
        height, width = settings["input_size"][1:]
        # Networks with learned positions read one size only; frames of another are scaled to it.
        self._fixed_size = (height, width) if settings.get("fixed_input_size") else None
        self._probe_size = (1, 3, height, width)
        channels = self._probe_channels()
        self.squeezes = config.pool == "grid" and config.squeeze > 0
        self.channels = config.squeeze if self.squeezes else channels
        self.reduce = nn.Conv2d(channels, self.channels, 1) if self.squeezes else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.set_tuned(config.tune)

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 frames (N, 3, H, W) -> squeezed maps (N, C, g, g) or vectors (N, C)."""
        return self.squeeze(self.maps(frames))

    def maps(self, frames: Tensor) -> Tensor:
        """The pretrained network alone: what a feature cache may keep while it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tuned != 0):
            parts = [self._maps(part) for part in torch.split(frames, self.config.chunk)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def unpooled(self, frames: Tensor) -> Tensor:
        """The network's maps (N, C, h, w) of all frames at once, before they are pooled."""
        pixels = standardized(frames) if self.config.standardize else (frames - self.mean) / self.std
        pixels = pixels.to(self.mean.dtype, memory_format=torch.channels_last)
        if self._fixed_size and pixels.shape[-2:] != self._fixed_size:
            pixels = nn.functional.interpolate(pixels, self._fixed_size, mode="bilinear", antialias=True)
        return self._network(pixels)

    @property
    def keeps_places(self) -> bool:
        """Whether a cell of the maps tells of its own place: in a transformer attention has mixed the places."""
        return not (self._tokens or hasattr(self.backbone, "num_prefix_tokens"))

    def squeeze(self, maps: Tensor) -> Tensor:
        """The pretrained network's maps -> squeezed maps.

        Each frame's maps are brought to mean 0 and variance 1 first: levels of pretrained networks differ in scale by
        orders of magnitude, and layers learned from scratch on the large ones die. Of hybrid-caffenet, whose fully
        connected layers are pretrained too, these make the vectors from pool5.
        """
        maps = maps.to(self.mean.dtype)
        squeezed: Tensor = (
            self.backbone.vectors(maps, self.dropout)
            if self.config.is_caffenet
            else self.reduce(nn.functional.layer_norm(maps, maps.shape[1:]))
        )
        return squeezed

    def set_tuned(self, stages: int) -> None:
        """Lets the last `stages` stages of the network learn; 0 freezes it all, -1 lets all of it learn."""
        names = self._stage_names() if stages else []
        self.tuned = len(names) if stages < 0 else min(stages, len(names))
        learning = {name for stage in names[len(names) - self.tuned :] for name in stage}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in learning)
        self.train(self.training)

    def train(self, mode: bool = True) -> "FrameEncoder":
        """Training mode for what learns; a frozen stage keeps its statistics and drops nothing."""
        super().train(mode)
        if not mode or self.tuned == 0:
            self.backbone.eval()
            return self
        for module in self.backbone.modules():
            learns = [parameter.requires_grad for parameter in module.parameters()]
            fixed_norm = isinstance(module, _NORMS) and self.config.batchnorm == "frozen"
            # With what is below it: what drops things at random has no weights of its own.
            if fixed_norm or (learns and not any(learns)):
                module.eval()
        return self

    def _maps(self, frames: Tensor) -> Tensor:
        maps = self.unpooled(frames)
        if self.config.pool == "avg":
            return maps.mean((2, 3))
        if self.config.is_caffenet or maps.shape[-2:] == (self.config.grid, self.config.grid):
            return maps.contiguous()
        return nn.functional.adaptive_avg_pool2d(maps, self.config.grid).contiguous()

    def _network(self, pixels: Tensor) -> Tensor:
        maps: Tensor
        if self.config.stage is not None:
            indices = [self.config.stage]
            (maps,) = self.backbone.forward_intermediates(pixels, indices=indices, intermediates_only=True)
            return maps
        if self._tokens:
            (maps,) = self.backbone.forward_intermediates(
                pixels, indices=1, norm=True, intermediates_only=True
            )
            return maps
        maps = self.backbone.forward_features(pixels)
        return maps.permute(0, 3, 1, 2) if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC" else maps

    def _probe_channels(self) -> int:
        if isinstance(self.backbone, HybridCaffeNet):
            self._tokens = False
            return self.backbone.outputs
        pixels = torch.zeros(self._probe_size)
        self.backbone.eval()
        try:
            with torch.inference_mode():
                # Transformers give a list of patches, some with tokens that belong to no place.
                self._tokens = self.config.stage is None and self.backbone.forward_features(pixels).ndim != 4
                return int(self._network(pixels).shape[1])
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise LrcnError(
                f"encoder.name is {self.config.name}, which gives no maps of a frame ({type(error).__name__}): "
                "choose another network."
            ) from error

    def _stage_names(self) -> list[list[str]]:
        """Names of the network's parameters, stage by stage, from input to output."""
        if isinstance(self.backbone, HybridCaffeNet):
            return self.backbone.stages()
        groups = group_parameters(self.backbone, self.backbone.group_matcher(coarse=True))
        used = self._used_names()
        stages = [[name for name in groups[order] if name in used] for order in sorted(groups)]
        return [stage for stage in stages if stage]

    def _used_names(self) -> set[str]:
        """Names of the parameters that the maps follow from: many networks also hold layers of their classifier."""
        self.backbone.eval().requires_grad_(True)
        names, parameters = zip(*self.backbone.named_parameters(), strict=True)
        with torch.enable_grad():
            maps = self._network(self.mean.new_zeros(self._probe_size))
        slopes = torch.autograd.grad(maps.sum(), parameters, allow_unused=True)
        return {name for name, slope in zip(names, slopes, strict=True) if slope is not None}


def without_pretrained(settings: Networks) -> Networks:
    """The same networks, whose CNN (`settings.encoder`) looks for no pretrained weights: others are put in."""
    given: Any = settings
    found: Networks = replace(given, encoder=replace(given.encoder, weights="none"))
    return found


def learning_parameters(encoder: FrameEncoder) -> Iterator[nn.Parameter]:
    """The pretrained network's parameters that are being tuned (not the projection's)."""
    return (parameter for parameter in encoder.backbone.parameters() if parameter.requires_grad)


def _create_backbone(config: EncoderConfig) -> Any:
    if config.is_caffenet:
        return _create_caffenet(config)
    if config.name != PLAIN and config.name not in timm.list_models():
        close = timm.list_models(f"*{config.name}*")[:5]
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models() for the names."
        raise LrcnError(f"encoder.name is {config.name!r}, which timm does not know: {hint}")
    backbone: Any
    if config.name == PLAIN:
        _refuse_timm_weights(config)
        backbone = PlainCNN(config.width)
    elif config.weights == "timm":
        backbone = _pretrained(config.name)
    else:
        backbone = timm.create_model(config.name, pretrained=False, num_classes=0, global_pool="")
    if config.stage is not None:
        levels = len(backbone.feature_info)
        if not 0 <= config.stage < levels:
            raise LrcnError(
                f"encoder.stage is {config.stage}: {config.name} has feature levels 0 to {levels - 1}; choose one."
            )
        backbone.prune_intermediate_layers([config.stage], prune_norm=True, prune_head=True)
    if config.weights not in ("timm", "none"):
        load_backbone(backbone, config.weights)
    return backbone


def _refuse_timm_weights(config: EncoderConfig) -> None:
    if config.weights == "timm":
        raise LrcnError(
            f"timm has no weights of {config.name}: give encoder.weights a model folder that has, or 'none' for "
            "random ones."
        )


def _create_caffenet(config: EncoderConfig) -> HybridCaffeNet:
    _refuse_timm_weights(config)
    backbone = HybridCaffeNet(2 if config.pool == "fc7" else 1, config.width, config.mean)
    if config.weights != "none":
        load_backbone(backbone, config.weights)
    return backbone


def _pretrained(name: str) -> Any:
    try:
        if not pretrained_within_reach(name):
            raise ConnectionError
        return timm.create_model(name, pretrained=True, num_classes=0, global_pool="")
    except Exception as error:  # timm passes on whatever its hub client raises
        raise LrcnError(
            f"The pretrained weights of {name} could not be fetched from timm's hub ({type(error).__name__}); "
            "give a local file with encoder.weights, or 'none' to start from random weights."
        ) from error


def pretrained_within_reach(name: str) -> bool:
    """Whether timm's weights of a network are on this machine already, or the hub that has them answers.

    Asked first because the hub's client tries for more than a minute before it gives up.
    """
    repository = getattr(timm.models.get_pretrained_cfg(name), "hf_hub_id", None)
    kept_as = ("model.safetensors", "pytorch_model.bin")
    if repository and any(isinstance(try_to_load_from_cache(repository, file), str) for file in kept_as):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    if getproxies().get(hub.scheme):
        # Whether a proxy reaches it is only known by trying.
        return True
    try:
        with socket.create_connection((hub.hostname, hub.port or 443), timeout=5):
            return True
    except OSError:
        return False


def load_backbone(backbone: nn.Module, weights: str | Path) -> None:
    """Loads a safetensors file in timm's key layout; a classifier in it is left out, anything else must fit.

    Raises:
        LrcnError: the file is missing, is not safetensors, or holds another network's weights.
    """
    path = Path(weights).expanduser()
    shipped = Path(str(files("lrcn") / "zoo" / str(weights)))
    if not path.exists() and shipped.is_dir():
        path = shipped
    try:
        tensors = load_weights(path) if path.is_dir() else load_file(path)
    except FileNotFoundError as error:
        raise LrcnError(
            f"encoder.weights: there is no file {error.filename or path}; give a .safetensors file, 'timm' or 'none'."
        ) from error
    except (OSError, SafetensorError) as error:
        raise LrcnError(
            f"encoder.weights: {path} cannot be read as a safetensors file ({error}); give one in timm's key layout."
        ) from error
    if any(name.startswith(_IN_MODEL) for name in tensors):
        tensors = {name.removeprefix(_IN_MODEL): value for name, value in tensors.items()}
    needed = backbone.state_dict()
    missing = [
        name
        for name, value in needed.items()
        if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    wrong = [name for name in needed if name in tensors and tensors[name].shape != needed[name].shape]
    if missing or wrong:
        piece = f"lacks {missing[0]}" if missing else f"has another shape for {wrong[0]}"
        raise LrcnError(f"encoder.weights: {path} {piece}; it holds the weights of another network.")
    backbone.load_state_dict(
        {name: tensors[name].float() for name in needed if name in tensors}, strict=False
    )
