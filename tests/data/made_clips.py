"""Small clips, networks and folders for the tests of training, and what other processes run for them."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_video import make_video
from safetensors.torch import save_file
from torch import Tensor

from lrcn.config import from_values
from lrcn.data.datasets import Item
from lrcn.fingerprint import fingerprint
from lrcn.models.cnn import EncoderConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.train import run
from lrcn.train.distributed import joined_team
from lrcn.train.loop import LoopConfig, fit
from lrcn.train.optim import OptimConfig
from lrcn.train.recipe import Recipe
from lrcn.train.tasks import RecognitionTask

SIZE = 256
"""C of the vectors that the small network gives."""


class MadeClips:
    """Clips in memory, as features (T, ...) with a class each, or one a frame."""

    def __init__(self, maps: Sequence[Tensor], labels: Sequence[Any], name: str = "made") -> None:
        self.maps = [clip.half() for clip in maps]
        self.labels = list(labels)
        self.name = name

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        return {"maps": self.maps[index], "label": self.labels[index], "index": index}

    def key(self, index: int, view: int) -> str:
        return fingerprint(self.name, index, self.maps[index].tolist(), str(self.labels[index]))


def random_clips(
    count: int, steps: int = 4, classes: int = 2, seed: int = 0, varied: bool = False
) -> MadeClips:
    """Noise with classes that take turns."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [steps - k % 3 if varied else steps for k in range(count)]
    maps = [torch.randn(length, SIZE, generator=generator) for length in lengths]
    return MadeClips(maps, [k % classes for k in range(count)])


def order_clips(count: int, steps: int = 6, seed: int = 0) -> MadeClips:
    """Scene A then scene B, or B then A: how much there is of each says nothing, so only the order tells."""
    scenes = torch.randn(2, SIZE, generator=torch.Generator().manual_seed(77))
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for index in range(count):
        first = int(torch.randint(1, steps, (1,), generator=generator))
        shown = torch.tensor([index % 2] * first + [1 - index % 2] * (steps - first))
        maps.append(scenes[shown] + 0.3 * torch.randn(steps, SIZE, generator=generator))
    return MadeClips(maps, [index % 2 for index in range(count)])


def small_model(
    labels: Sequence[str] = ("left", "right"),
    unit: Any = "lstm",
    dropout: float = 0.3,
    size: int = 6,
    seed: int = 0,
) -> Recognizer:
    """A recogniser of a few thousand learned weights, the same for the same seed."""
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"),
        ReadingConfig(features=size, dropout=dropout),
        RecurrentConfig(unit, size, dropout=dropout),
    )
    return Recognizer(config, list(labels))


def learned(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and statistics."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor], atol: float = 0.0) -> None:
    """Compares bit by bit, or up to `atol`."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if atol:
            torch.testing.assert_close(
                value, other[name], rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
            )
        else:
            assert torch.equal(value, other[name]), name


def moving_square(leftwards: bool, frames: int = 8, size: int = 32, seed: int = 0) -> list[np.ndarray]:
    """Pictures (H,W,3) of a bright square on grey that goes left or right."""
    generator = np.random.default_rng(seed)
    top, colour = int(generator.integers(2, size - 12)), generator.integers(150, 255, 3)
    places = np.linspace(0, size - 10, frames).astype(int)
    pictures = []
    for place in places[::-1] if leftwards else places:
        picture = np.full((size, size, 3), 60, np.uint8)
        picture[top : top + 10, place : place + 10] = colour
        pictures.append(picture)
    return pictures


def class_folders(folder: Path, clips: int = 4, frames: int = 8) -> Path:
    """Squares that go left or right, a folder each."""
    for leftwards, label in ((True, "left"), (False, "right")):
        (folder / label).mkdir(parents=True)
        for n in range(clips):
            pictures = moving_square(leftwards, frames, seed=n)
            make_video(folder / label / f"{n}.mp4", frames, rate=10, size=(32, 32), pictures=pictures)
    return folder


def tiny_recipe(source: Path, **changes: Any) -> Recipe:
    """A recipe that trains in a second or two, first on cached features, then the CNN too."""
    loop = {"batch": 2, "checkpoint_seconds": -1.0, "optim": {"lr": 0.01}}
    values = {
        "name": "squares",
        "data": {"source": str(source), "shares": {"train": 0.5, "dev": 0.25, "test": 0.25}},
        "model": {
            "encoder": {
                "name": "test_efficientnet",
                "weights": "none",
                "pool": "grid",
                "stage": 1,
                "grid": 4,
                "squeeze": 4,
            },
            "reading": {"features": 8},
            "recurrent": {"size": 8},
        },
        "preprocess": {"size": 32},
        "sampling": {"frames": 6},
        "augment": {"scale": 0.8, "colour": 0.2},
        "views": 2,
        "train": {"epochs": 2, **loop},
        "tune": {"epochs": 1, **loop},
        "tune_stages": 1,
        "device": "cpu",
    }
    return from_values(Recipe, values | changes)


# ---- what other processes do ----


def process(target: Any, *arguments: Any) -> Any:
    """A process that begins with everything imported and nothing run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lrcn.train.run"])
    started = context.Process(target=target, args=arguments)
    started.start()
    return started


def train_and_die(source: Path, out: Path, place: str, count: int) -> None:
    """Trains, and is killed in the `count`-th call of a function, named `module:function`."""
    import importlib

    torch.set_num_threads(1)
    module_name, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module_name)
    for step in owners:
        owner = getattr(owner, step)
    original, calls = getattr(owner, name), []

    def deadly(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, deadly)
    run.train(tiny_recipe(source), out, lambda _: None)


TEAM_CLIPS = 16


def team_training(folder: Path, rank: int, team: Any, batch: int) -> None:
    """One run that keeps its last weights, then one that keeps its best and ends early."""
    sgd = OptimConfig("sgd", lr=0.5, warmup=0.2)
    model = small_model(dropout=0.0)
    config = LoopConfig(epochs=3, batch=batch, keep="last", checkpoint_seconds=-1, optim=sgd)
    own = folder / f"own-{rank}"
    own.mkdir(parents=True, exist_ok=True)
    fit(model, RecognitionTask(random_clips(TEAM_CLIPS)), config, own, recipe="own", team=team)
    save_file(learned(model), folder / f"last-{rank}.safetensors")

    class Shrinking(RecognitionTask):
        def dev_score(self, model: Any) -> dict[str, float]:
            return {"score": -float(model.classifier.weight.detach().norm())}

    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    config = LoopConfig(epochs=9, batch=batch, patience=2, checkpoint_seconds=-1, optim=sgd)
    model = small_model(dropout=0.0)
    progress = fit(model, Shrinking(random_clips(TEAM_CLIPS)), config, shared, recipe="shared", team=team)
    save_file(learned(model), folder / f"best-{rank}.safetensors")
    (folder / f"epochs-{rank}").write_text(str(progress.epoch))


def train_in_team(folder: Path, rank: int, world: int, port: int) -> None:
    """What one of the processes of `torchrun` does."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with joined_team() as team:
        assert (team.rank, team.world, team.leads) == (rank, world, rank == 0)
        assert team.agree(rank == 0) is True, "the leader's answer is everybody's"
        team_training(folder, rank, team, batch=2)


class Killed(BaseException):
    """Stands for a kill where a real one would take the tests along."""
