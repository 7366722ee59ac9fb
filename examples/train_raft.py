"""Weights for RAFT where torchvision's cannot be fetched: trained on pairs of pictures made out of your own photos.

    python train_raft.py PHOTOS --out raft.safetensors

As in FlyingChairs (Dosovitskiy et al. 2015), pieces of photos fly over a photo and each moves in a way of its own, so
the flow between the two pictures is known at every pixel. `preprocess.motion.weights` of a recipe takes the file. They
see far less than torchvision's: the errors printed at the end, beside those of OpenCV's flow on photos that were kept
back, say what they are worth.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from lrcn.data.flow import MotionConfig
from lrcn.memory import keep_freed_memory

SIDE = 128
"""Pixels; RAFT reads nothing smaller."""

KEPT_BACK = 100
"""Photos that the errors are measured on."""

Picture = NDArray[np.uint8]
Flow = NDArray[np.float32]
Moves = NDArray[np.float64]
"""Where a pixel goes, as a matrix (2, 3) of its place (x, y, 1)."""


def read(folder: Path, most: int) -> list[Picture]:
    """The first photos of a folder, RGB, their shorter side twice that of a pair."""
    photos = []
    for path in sorted(folder.rglob("*.jpg"))[:most]:
        picture = cv2.imread(str(path))
        if picture is not None:
            scale = 2 * SIDE / min(picture.shape[:2])
            resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            photos.append(np.asarray(resized[:, :, ::-1], np.uint8).copy())
    return photos


def pair(photos: list[Picture], chance: np.random.Generator) -> tuple[Picture, Picture, Flow]:
    """Two pictures (H, W, 3), and the flow (H, W, 2) from the first to the second."""
    reach = np.exp(chance.uniform(np.log(0.3), np.log(8)))
    first, second = np.empty((SIDE, SIDE, 3), np.uint8), np.empty((SIDE, SIDE, 3), np.uint8)
    flow = np.empty((SIDE, SIDE, 2), np.float32)
    for layer in range(1 + chance.integers(5)):
        photo = photos[chance.integers(len(photos))]
        placed = _placed(photo, chance)
        moves = _moves(reach * (1 if layer == 0 else 2), chance)
        then = moves @ np.vstack([placed, [0, 0, 1]])
        seen = np.full((SIDE, SIDE), 255, np.uint8) if layer == 0 else _shape(chance)
        seen_then = cv2.warpAffine(seen, moves, (SIDE, SIDE)) if layer else seen
        for picture, place, shape in ((first, placed, seen), (second, then, seen_then)):
            drawn = cv2.warpAffine(photo, place, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
            picture[shape > 127] = drawn[shape > 127]
        flow[seen > 127] = _flow(moves)[seen > 127]
    return _filmed(first, chance), _filmed(second, chance), flow


def batches(photos: list[Picture], size: int, chance: np.random.Generator) -> Iterator[list[Tensor]]:
    """Pairs (B, 3, H, W) as RAFT reads them, and their flow (B, 2, H, W), without end."""
    while True:
        pairs = zip(*(pair(photos, chance) for _ in range(size)), strict=True)
        first, second, flow = (torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) for part in pairs)
        yield [first / 127.5 - 1, second / 127.5 - 1, flow]


def train(network: nn.Module, photos: list[Picture], given: argparse.Namespace) -> None:
    """Teaches RAFT as its authors did (Teed and Deng 2020, section 3.4), and writes it now and then."""
    optim = torch.optim.AdamW(network.parameters(), 4e-4, weight_decay=1e-5)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optim, 4e-4, given.steps + 1, pct_start=0.05, anneal_strategy="linear"
    )
    pairs = batches(photos, given.batch, np.random.default_rng(0))
    average = 0.0
    for step in range(1, given.steps + 1):
        first, second, flow = next(pairs)
        found = network.train()(first, second, num_flow_updates=given.rounds)
        loss = sum(0.8**later * (one - flow).abs().mean() for later, one in enumerate(reversed(found)))
        optim.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optim.step()
        rate.step()
        average += 0.02 * (float((found[-1].detach() - flow).norm(dim=1).mean()) - average)
        if step % 200 == 0 or step == given.steps:
            print(f"step {step}: {average:.2f} px off", flush=True)
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, given.out)


def errors(photos: list[Picture], given: argparse.Namespace) -> dict[str, float]:
    """How many pixels the end of a motion is off on the mean, for RAFT and for OpenCV's ways."""
    ways = {
        f"{given.method}, {given.out.name}": MotionConfig("flow", given.method, weights=str(given.out)),
        "DIS fast": MotionConfig("flow", "dis", "fast"),
        "DIS medium": MotionConfig("flow", "dis", "medium"),
        "Farneback": MotionConfig("flow", "farneback"),
        "TV-L1": MotionConfig("flow", "tvl1"),
    }
    off: dict[str, list[float]] = {name: [] for name in ways}
    chance = np.random.default_rng(1)
    for _ in range(given.pairs):
        first, second, flow = pair(photos, chance)
        for name, way in ways.items():
            found = way.flow(first.transpose(2, 0, 1), second.transpose(2, 0, 1))
            off[name].append(float(np.linalg.norm(found - flow, axis=2).mean()))
    return {name: float(np.mean(values)) for name, values in off.items()}


def _placed(photo: Picture, chance: np.random.Generator) -> Moves:
    """Where a photo's pixels lie in the picture: any part of it, turned and scaled at will."""
    height, width = photo.shape[:2]
    turn, scale = chance.uniform(-30, 30), chance.uniform(0.6, 1.2)
    placed = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
    placed[:, 2] += SIDE / 2 - np.array([width, height]) / 2 + chance.uniform(-SIDE / 3, SIDE / 3, 2)
    return placed


def _moves(reach: float, chance: np.random.Generator) -> Moves:
    """A motion of about `reach` pixels, with a turn and a zoom."""
    centre = tuple(chance.uniform(0, SIDE, 2))
    turn, scale = chance.normal(0, 0.5 * reach), 1 + chance.normal(0, 0.005 * reach)
    moves = cv2.getRotationMatrix2D(centre, turn, scale)
    moves[:, 2] += chance.normal(0, reach, 2)
    return moves


def _shape(chance: np.random.Generator) -> Picture:
    """A blob somewhere in the picture."""
    turns = np.sort(chance.uniform(0, 2 * np.pi, chance.integers(4, 12)))
    lengths = chance.uniform(0.5, 1.0, len(turns)) * chance.uniform(8, SIDE / 3)
    corners = chance.uniform(0, SIDE, 2) + lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
    shape = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(shape, [corners.astype(np.int32)], 255)
    return np.asarray(cv2.GaussianBlur(shape, (0, 0), chance.uniform(0.5, 4)), np.uint8)


def _flow(moves: Moves) -> Flow:
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    places = np.stack([across, down, np.ones_like(across)], -1)
    return np.asarray(places @ moves.T - places[..., :2], np.float32)


def _filmed(picture: Picture, chance: np.random.Generator) -> Picture:
    """The picture as a camera may have it: brighter or darker, and with noise."""
    noise = chance.normal(0, chance.uniform(0, 6), picture.shape)
    bright = picture * chance.uniform(0.9, 1.1) + chance.uniform(-8, 8)
    return np.asarray(np.clip(bright + noise, 0, 255), np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="a folder of .jpg files")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file")
    parser.add_argument("--method", choices=("raft_small", "raft_large"), default="raft_small")
    parser.add_argument("--most", type=int, default=2000, help="photos that are read")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6, help="times that RAFT mends its flow, in training")
    parser.add_argument("--pairs", type=int, default=200, help="of the photos kept back, to measure on")
    parser.add_argument("--errors-alone", action="store_true", help="measures a file that is there")
    given = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    found = read(given.photos, given.most)
    if not given.errors_alone:
        train(get_model(given.method, weights=None), found[KEPT_BACK:], given)
    for name, off in errors(found[:KEPT_BACK], given).items():
        print(f"{name}: {off:.2f} px off")
