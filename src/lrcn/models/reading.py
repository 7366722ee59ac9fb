"""From the maps of a frame, and of the frame before, to the vector the network over time reads.

The paper feeds its LSTM with fc6, a projection of the whole last map that keeps where things are, and gets motion
from a second network on optical flow. Here motion is read off the same maps: their difference, or their local
correlation (each cell of a frame against the cells around it in the frame before, as in FlowNet, Dosovitskiy et al.
2015, section 3), which says where things went whatever they look like. The frame before is part of the state, so a
stream reads the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.recurrent import State

READS = ("appearance", "difference", "correlation")


@dataclass(frozen=True)
class ReadingConfig:
    """What is read of every frame.

    Attributes:
        reads: any of "appearance", "difference" and "correlation"; each is projected on its own, then they stand side
            by side.
        features: D, size of each projection; 0 hands vectors on as they are (not with `pool: grid`).
        reach: how many cells away `correlation` looks, in each direction.
        dropout: on what the network over time reads (the paper: 0.9 on fc6 when trained end to end).
        map_dropout: on the cells of a grid before they are projected: few clips learn many weights there.
    """

    reads: tuple[str, ...] = ("appearance",)
    features: int = 256
    reach: int = 1
    dropout: float = 0.5
    map_dropout: float = 0.0

    def __post_init__(self) -> None:
        unknown = [read for read in self.reads if read not in READS]
        if unknown or not self.reads:
            raise LrcnError(f"reading.reads is {list(self.reads)}: give one or more of {', '.join(READS)}.")
        if len(set(self.reads)) < len(self.reads):
            raise LrcnError(f"reading.reads is {list(self.reads)}: give each once.")
        if self.features < 0 or self.reach < 1:
            raise LrcnError(
                f"reading.features is {self.features} and reach {self.reach}: give 0 or more, and 1 or more."
            )
        for name in ("dropout", "map_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise LrcnError(
                    f"reading.{name} is {getattr(self, name)}: give a number from 0 up to but without 1."
                )


class FrameReading(nn.Module):
    """Maps of consecutive frames -> what the network over time reads of each.

    Args:
        config: what is read.
        encoder: says whether the maps are grids.
        channels: C of the maps.

    Raises:
        LrcnError: what is to be read cannot be had from such maps.
    """

    origin: Tensor

    def __init__(self, config: ReadingConfig, encoder: EncoderConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.shape = (channels, encoder.grid, encoder.grid) if encoder.pool == "grid" else (channels,)
        if "correlation" in config.reads and encoder.pool != "grid":
            raise LrcnError(
                "reading.reads has correlation, which needs to know where things are: set encoder.pool to grid."
            )
        if not config.features and encoder.pool == "grid":
            raise LrcnError("reading.features is 0: a grid must be projected; give it a size such as 256.")
        self.projections = nn.ModuleDict({read: self._projection(read) for read in config.reads})
        self.outputs = len(config.reads) * (config.features or channels)
        self.dropout = nn.Dropout(config.dropout)
        # Says the device and precision of a state where nothing is learned.
        self.register_buffer("origin", torch.zeros(()), persistent=False)
        self.looks_back = set(config.reads) != {"appearance"}

    def forward(self, maps: Tensor, state: State, cont: Tensor | None = None) -> Tensor:
        """Maps (B, T, C, g, g) or (B, T, C) and the state before them -> features (B, T, outputs).

        Where `cont` (B, T) is 0, a frame begins a new sequence: the one before it in its row is another's.
        """
        now = maps.flatten(0, 1)
        before = self._before(maps, state, cont) if self.looks_back else now
        parts = [projection(self._read(read, now, before)) for read, projection in self.projections.items()]
        features: Tensor = self.dropout(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        return features.view(*maps.shape[:2], -1)

    def initial_state(self, batch: int) -> State:
        """No frame yet: {"before": (B, C, g, g) or (B, C), "started": (B, 1)}, or {} where nothing looks back."""
        if not self.looks_back:
            return {}
        return {
            "before": self.origin.new_zeros(batch, *self.shape),
            "started": self.origin.new_zeros(batch, 1),
        }

    def after(self, maps: Tensor, lengths: Tensor | None = None) -> State:
        """The state after each row's last valid frame, given the maps (B, T, ...) just read."""
        if not self.looks_back:
            return {}
        last = maps[:, -1]
        if lengths is not None:
            last = maps[torch.arange(maps.shape[0], device=maps.device), lengths.to(maps.device) - 1]
        return {"before": last, "started": maps.new_ones(maps.shape[0], 1)}

    def _before(self, maps: Tensor, state: State, cont: Tensor | None) -> Tensor:
        # The first frame of a stream has none before it: it is compared with itself, and nothing has changed.
        started = state["started"].view(-1, *[1] * (maps.ndim - 2)) > 0
        first = torch.where(started, state["before"], maps[:, 0])
        if cont is None and maps.shape[1] == 1:
            return first
        before = torch.cat([first[:, None], maps[:, :-1]], dim=1)
        if cont is not None:
            before = torch.where(cont.view(*cont.shape, *[1] * (maps.ndim - 2)) == 0, maps, before)
        return before.flatten(0, 1)

    def _read(self, read: str, now: Tensor, before: Tensor) -> Tensor:
        if read == "appearance":
            return now
        return now - before if read == "difference" else local_correlation(now, before, self.config.reach)

    def _projection(self, read: str) -> nn.Module:
        if len(self.shape) == 1:
            if not self.config.features:
                return nn.Identity()
            return nn.Sequential(nn.Linear(self.shape[0], self.config.features), nn.ReLU())
        layers: list[nn.Module] = [nn.Identity() if read == "difference" else nn.ReLU()]
        channels, side = self.shape[0], self.shape[1]
        if read == "correlation":
            # How the picture moves varies slowly over it: a few cells on a side say it all.
            channels, side = _CORRELATION_CHANNELS, min(side, _CORRELATION_CELLS)
            layers = [
                nn.Conv2d((2 * self.config.reach + 1) ** 2, channels, 1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(side),
            ]
        if self.config.map_dropout:
            layers.append(nn.Dropout(self.config.map_dropout))
        return nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * side**2, self.config.features), nn.ReLU()
        )


_CORRELATION_CHANNELS = 32
_CORRELATION_CELLS = 7


def local_correlation(now: Tensor, before: Tensor, reach: int) -> Tensor:
    """Cosine of each cell of `now` with the cells of `before` up to `reach` away.

    Args:
        now: (N, C, h, w).
        before: (N, C, h, w).
        reach: cells in each direction.

    Returns:
        (N, (2 * reach + 1) ** 2, h, w), displacements row by row; 0 beyond the border.
    """
    height, width = now.shape[-2:]
    span = 2 * reach + 1
    now = nn.functional.normalize(now, dim=1).permute(0, 2, 3, 1)
    padded = nn.functional.pad(nn.functional.normalize(before, dim=1), (reach,) * 4).permute(0, 2, 3, 1)
    # Each row with the rows near it, all their cells: (N, h, span, w, w + 2 reach). A few products, not many sums.
    rows = torch.stack([padded[:, down : down + height] for down in range(span)], dim=2)
    products = now[:, :, None] @ rows.transpose(-1, -2)
    # Cell x meets the cells x to x + 2 reach: a slanted band, which stands upright once rows are longer by one.
    slanted = nn.functional.pad(products.flatten(-2), (0, width))
    band: Tensor = slanted.view(*products.shape[:-1], -1)[..., :span]
    return band.permute(0, 2, 4, 1, 3).flatten(1, 2)
