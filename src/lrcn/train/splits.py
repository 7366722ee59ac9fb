"""The clips of a recipe: training draws, dev and test, whole or fold by fold, as frames or as cached features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lrcn.data.cache import FeatureCache
from lrcn.data.check import check_manifest
from lrcn.data.datasets import ClipDataset, ClipSource, Item, PreparedClips
from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, labels_of, read_manifest
from lrcn.data.moves import MovesDataset, plain
from lrcn.data.splits import group_folds, guess_groups, refuse_leakage, split_rows
from lrcn.data.streams import Layout, StreamsConfig
from lrcn.data.timed import TimedVideos
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import list_media
from lrcn.errors import LrcnError
from lrcn.evaluate.detection import PIECE
from lrcn.fingerprint import fingerprint
from lrcn.memory import to_spare
from lrcn.models.cnn import FrameEncoder
from lrcn.train.recipe import MovesData, Recipe
from lrcn.train.tracking import counting

Report = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """What one run learns from and is judged on.

    Attributes:
        labels: the classes.
        train: random draws.
        dev: chooses the weights where it is there.
        test: looked at once, at the end.
        layout: how the training items are laid end to end, where that is known.
    """

    labels: list[str]
    train: ClipSource
    dev: ClipSource | None = None
    test: ClipSource | None = None
    layout: Layout | None = None

    def key(self) -> str:
        """A hash of the clips, so that a run is not taken up with others."""
        parts = [self.train, self.dev, self.test]
        keys = [source and [source.key(index, 0) for index in range(len(source))] for source in parts]
        return fingerprint(self.labels, keys)


def clips_in(source: ClipSource | None) -> int:
    """How many clips there are; a video in pieces is one."""
    if isinstance(source, TimedVideos):
        return len(source.videos)
    return 0 if source is None else len(source)


class Chosen:
    """Some clips of another source, in a given order."""

    def __init__(self, source: ClipSource, indices: Sequence[int]) -> None:
        self.source = source
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """Draw `view` of the `index`-th chosen clip."""
        return {**self.source.item(self.indices[index], view), "index": index}

    def key(self, index: int, view: int) -> str:
        """The key of the clip behind it: folds share what is cached."""
        return self.source.key(self.indices[index], view)


def read_rows(source: str | Path, report: Report) -> list[Row]:
    """Labelled rows of a manifest or of a folder of class folders, with groups where names tell them."""
    path = Path(source).expanduser()
    if path.is_dir():
        rows, sentences = import_data("folder", path)
    else:
        rows, sentences = read_manifest(path), []
    if not any(row.group for row in rows):
        rows, sentence = guess_groups(rows)
        sentences = [*sentences, sentence]
    for sentence in sentences:
        report(sentence)
    return [row for row in rows if row.label is not None]


def usable_rows(rows: list[Row], report: Report) -> list[Row]:
    """The rows whose clips can be opened; what else would spoil training or its numbers is told.

    Files are opened, not decoded: `lrcn data check` looks at every frame.
    """
    found = check_manifest(rows, decode=False)
    bad = {problem.path: problem.reason for problem in (*found.unreadable, *found.empty)}
    for path, reason in list(bad.items())[:_TOLD]:
        report(f"Left out: {reason if path in reason else f'{path}: {reason}'}")
    if len(bad) > _TOLD:
        report(f"Left out: {len(bad) - _TOLD} more; `lrcn data check` lists them.")
    if found.duplicates:
        report(
            f"{len(found.duplicates)} clips stand here more than once, byte for byte; `lrcn data check` names them."
        )
    if found.single:
        report(
            f"Classes of a single clip, which cannot be both learnt and tested: {', '.join(found.single)}."
        )
    return [row for row in rows if row.path not in bad]


_TOLD = 5
"""Clips left out that are named one by one."""


def single_split(recipe: Recipe, report: Report) -> Split:
    """The recipe's own division into train, dev and test."""
    if recipe.data.moves is not None:
        return _moves_split(recipe.data.moves, recipe.preprocess)
    rows = usable_rows(read_rows(recipe.data.source, report), report)
    if recipe.data.resplit or {row.split for row in rows} <= {None, "train"}:
        rows, sentence = split_rows(rows, recipe.data.shares, recipe.data.seed)
        report(sentence)
    refuse_leakage(rows, recipe.data.allow_leakage)
    places: dict[str | None, list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault(row.split, []).append(index)
    return _split_of(recipe, rows, places.get("train", []), places.get("dev", []), places.get("test", []))


def fold_splits(recipe: Recipe, report: Report) -> list[Split]:
    """The splits of a study: one per fold, or the recipe's own where it has no folds."""
    study = recipe.study
    if study is None or study.folds == 0:
        return [single_split(recipe, report)]
    if not recipe.data.source:
        raise LrcnError("study.folds needs clips of files: set data.source, or study.folds to 0.")
    rows = read_rows(recipe.data.source, report)
    place = {id(row): index for index, row in enumerate(rows)}
    folds = group_folds(rows, study.folds, study.by, allow_leakage=recipe.data.allow_leakage)
    report(
        f"{len(folds)} folds by {study.by}; every clip is tested once, by a model that saw none of its {study.by}."
    )
    return [
        _split_of(
            recipe, rows, [place[id(row)] for row in fold.train], [], [place[id(row)] for row in fold.test]
        )
        for fold in folds
    ]


def cached(split: Split, encoder: FrameEncoder, folder: Path, views: int, workers: int = 0) -> Split:
    """The split with the frozen encoder's features in place of frames, computed once and kept in `folder`."""
    cache = feature_cache(encoder, folder)

    def filled(source: ClipSource | None, draws: int, name: str) -> ClipSource | None:
        if source is None:
            return None
        clips = cache.dataset(source, draws)
        clips.fill(workers=workers, progress=counting(f"features of {name} clips"))
        return clips

    train = filled(split.train, views, "training")
    assert train is not None
    return replace(split, train=train, dev=filled(split.dev, 1, "dev"), test=filled(split.test, 1, "test"))


def feature_cache(encoder: FrameEncoder, folder: Path) -> FeatureCache:
    """Where the features of a frozen encoder are kept."""
    # What is learned from scratch does not change the maps, so it must not change their key.
    maps_config = replace(encoder.config, squeeze=0, tune=0, chunk=1, weights="none")
    weights = [float(value.double().sum()) for value in encoder.backbone.state_dict().values()]
    device = encoder.mean.device
    encoder.eval()
    return FeatureCache(
        folder,
        lambda frames: encoder.maps(frames.to(device)),
        fingerprint(maps_config, weights),
        memory_limit=to_spare(8 << 30),
    )


def _split_of(recipe: Recipe, rows: list[Row], train: list[int], dev: list[int], test: list[int]) -> Split:
    labels = labels_of(rows)
    if not train or len(labels) < 2:
        raise LrcnError(
            f"{recipe.data.source} gives {len(train)} training clips of {len(labels)} classes; "
            "at least one clip of each of two classes is needed."
        )
    frames = Path(recipe.data.frame_cache).expanduser() if recipe.data.frame_cache else None
    if recipe.data.streams is not None and recipe.data.streams.rows == "segments":
        parts = ([rows[index] for index in part] for part in (train, dev, test))
        return _timed_split(recipe, recipe.data.streams, labels, frames, *parts)
    dataset = partial(ClipDataset, rows, labels, recipe.sampling, recipe.preprocess, frame_cache=frames)
    drawn = dataset(recipe.augment, train=True, seed=recipe.data.seed)
    fixed = dataset(train=False)
    return Split(
        labels,
        Chosen(drawn, train),
        Chosen(fixed, dev) if dev else None,
        Chosen(fixed, test) if test else None,
    )


def _timed_split(
    recipe: Recipe,
    streams: StreamsConfig,
    labels: list[str],
    frames: Path | None,
    train: list[Row],
    dev: list[Row],
    test: list[Row],
) -> Split:
    labels = sorted({*labels, *filter(None, [streams.background])})

    def videos(rows: list[Row], piece: int, augment: Augment | None = None) -> TimedVideos:
        return TimedVideos(
            rows,
            labels,
            recipe.sampling,
            recipe.preprocess,
            augment,
            train=augment is not None,
            piece=piece,
            background=streams.background,
            seed=recipe.data.seed,
            frame_cache=frames,
        )

    drawn = videos(train, streams.length, recipe.augment)
    return Split(
        labels,
        drawn,
        videos(dev, PIECE) if dev else None,
        videos(test, PIECE) if test else None,
        drawn.layout,
    )


def _moves_split(data: MovesData, preprocess: Preprocess) -> Split:
    train_photos = listed_photos(data.photos, data.train)
    stills = [row.path for source in data.clips for row in read_rows(source, lambda _: None)]
    train = MovesDataset(train_photos + stills, data.style, length=data.length, seed=data.seed)
    dev = None
    if data.dev:
        style = data.dev_style or plain(data.style)
        dev = MovesDataset(
            listed_photos(data.photos, data.dev), style, length=data.dev_length, seed=data.seed + 1
        )
    preparation = preprocess.preparation()
    if preparation.steps:
        return Split(
            list(MovesDataset.labels),
            PreparedClips(train, preparation),
            dev and PreparedClips(dev, preparation),
        )
    return Split(list(MovesDataset.labels), train, dev)


def listed_photos(folder: str, names: str) -> list[str]:
    """Paths of the photos a text file names, one a line, in a folder; of all its photos where `names` is empty.

    Raises:
        LrcnError: the list cannot be read.
    """
    if not names:
        return list_media([folder], ("image",))
    try:
        lines = Path(names).expanduser().read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LrcnError(f"Cannot read the list of photos {names}: {error.strerror or error}.") from error
    return [str(Path(folder).expanduser() / line.strip()) for line in lines if line.strip()]
