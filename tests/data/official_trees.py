"""Small data sets in the exact layouts of the official ones, lists included, for the tests of importers and recipes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from made_video import make_video


def write(file: Path, *lines: str) -> Path:
    """A text file of these lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def touch(*files: Path) -> None:
    """Empty files, with the folders above them."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


# ---- UCF101 ----


def make_ucf101(
    folder: Path,
    classes: Sequence[str] = ("Archery", "HandstandPushups", "YoYo"),
    groups: int = 4,
    clips: int = 2,
    frames: int = 0,
    size: tuple[int, int] = (320, 240),
    lists: str = "ucfTrainTestlist",
) -> Path:
    """UCF101 in miniature: UCF-101/CLASS/v_CLASS_gNN_cNN.avi and the lists of its three splits.

    Each class is a direction in which a square moves; background and colours are those of its group, so that
    nothing but the motion tells the class. A split tests on the next 7 of 25 groups, or as many of fewer.

    Args:
        folder: where the data set is put.
        classes: named as in the official list.
        groups: recordings a class.
        clips: clips a recording.
        frames: frames a clip at 25 a second; 0 makes empty files, enough for an importer.
        size: width and height.
        lists: where the lists are put, in the folder.
    """
    tested = max(1, round(groups * 7 / 25))
    write(folder / lists / "classInd.txt", *(f"{n} {label}" for n, label in enumerate(classes, start=1)))
    lines: dict[str, list[str]] = {f"{part}list0{n}.txt": [] for n in (1, 2, 3) for part in ("train", "test")}
    for number, label in enumerate(classes, start=1):
        for group in range(1, groups + 1):
            for clip in range(1, clips + 1):
                name = f"{label}/v_{in_file_names(label)}_g{group:02d}_c{clip:02d}.avi"
                for split in (1, 2, 3):
                    if (split - 1) * tested < group <= split * tested:
                        lines[f"testlist0{split}.txt"].append(name)
                    else:
                        lines[f"trainlist0{split}.txt"].append(f"{name} {number}")
                touch(folder / "UCF-101" / name)
                if frames:
                    pictures = moving_square(number / len(classes), (number, group), clip, frames, size)
                    make_video(folder / "UCF-101" / name, frames, "mpeg4", 25, size=size, pictures=pictures)
    for list_name, its_lines in lines.items():
        write(folder / lists / list_name, *its_lines)
    return folder


def in_file_names(label: str) -> str:
    """A class as the official file names spell it."""
    return label.replace("HandstandPushups", "HandStandPushups")


def moving_square(
    direction: float, recording: tuple[int, int], clip: int, frames: int, size: tuple[int, int]
) -> list[np.ndarray]:
    """Pictures (H,W,3) of a square that crosses the middle of a still background.

    Args:
        direction: where it goes, in turns clockwise from the right.
        recording: tells background and colour.
        clip: tells how far from the middle it passes.
        frames: how many.
        size: width and height.
    """
    width, height = size
    look, place = np.random.default_rng(recording), np.random.default_rng((*recording, clip))
    side = height // 5
    corners = look.integers(40, 200, (2, 2, 3)).astype(np.float64)
    across, down = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
    background = (corners[0, 0] * (1 - across) + corners[0, 1] * across) * (1 - down)
    background += (corners[1, 0] * (1 - across) + corners[1, 1] * across) * down
    colour = look.integers(0, 256, 3)
    step = np.array([np.cos(2 * np.pi * direction), np.sin(2 * np.pi * direction)]) * (height - side) * 0.8
    middle = (np.array([width, height]) - side) / 2 + place.uniform(-0.1, 0.1, 2) * height
    pictures = []
    for time in np.linspace(-0.5, 0.5, frames):
        left, top = np.clip(middle + step * time, 0, (width - side, height - side)).astype(int)
        picture = background.astype(np.uint8)
        picture[top : top + side, left : left + side] = colour
        pictures.append(picture)
    return pictures


# ---- HMDB51 ----

HMDB51 = {
    "eat": ("AMADEUS", "BIG_FISH", "CastAway1", "RETURN_OF_THE_KING"),
    "kick_ball": ("Amazing_Soccer_#2", "BIG_FISH", "Goal_1_&_2", "LONGESTYARD"),
}


def make_hmdb51(
    folder: Path,
    sources: Mapping[str, Sequence[str]] = HMDB51,
    clips: int = 2,
    lists: str = "testTrainMulti_7030_splits",
) -> Path:
    """HMDB51 in miniature: CLASS/SOURCE_CLASS_....avi and CLASS_test_splitN.txt with lines that end in a blank.

    Split N tests on the N-th source of each class and leaves the last clip of its last source unused.
    """
    for label, its_sources in sources.items():
        names = {
            source: [f"{source}_{label}_u_cm_np1_fr_med_{n}.avi" for n in range(clips)]
            for source in its_sources
        }
        for split in (1, 2, 3):
            lines = []
            for place, source in enumerate(its_sources, start=1):
                lines += [f"{name} {2 if place == split else 1} " for name in names[source]]
            lines[-1] = f"{lines[-1][:-2]}0 "
            write(folder / lists / f"{label}_test_split{split}.txt", *lines)
        touch(*(folder / "hmdb51_org" / label / name for part in names.values() for name in part))
    return folder


# ---- Kinetics ----

KINETICS = (
    ("air drumming", "_dbcJuKJQNs", 40, 50, "train"),
    ("air drumming", "0aBcDeFgHiJ", 5, 15, "train"),
    ("testifying", "---QUuC4vJs", 84, 94, "validate"),
    ("testifying", "--GkrdYZ9Tc", 1, 11, "train"),
)


def make_kinetics(folder: Path, flat: bool = False) -> Path:
    """Kinetics in miniature: annotations/SPLIT.csv, and SPLIT/CLASS/ID_SSSSSS_EEEEEE.mp4 or all in one folder."""
    header = "label,youtube_id,time_start,time_end,split"
    for split in ("train", "validate"):
        lines = [
            f'"{label}",{video},{start},{end},{split}'
            for label, video, start, end, part in KINETICS
            if part == split
        ]
        write(folder / "annotations" / f"{split}.csv", header, *lines)
    write(folder / "annotations" / "test.csv", header.removeprefix("label,"), "zzzzzzzzzzz,3,13,test")
    for label, video, start, end, split in KINETICS:
        name = f"{video}_{start:06d}_{end:06d}.mp4"
        touch(folder / "clips" / name if flat else folder / split / label / name)
    return folder


# ---- 20BN ----


def make_numbered(folder: Path, prefix: str, labels: Sequence[str], clips: int = 4) -> Path:
    """Jester or Something-Something v1 in miniature: PREFIX-train.csv and so on, and 20bn-PREFIX/N/00001.jpg.

    Of the clips of each label the last is validation; two more are test, without labels.
    """
    named = [(str(n + 1), label) for n, label in enumerate(label for label in labels for _ in range(clips))]
    validation = [f"{number};{label}" for number, label in named[clips - 1 :: clips]]
    train = [line for number, label in named if (line := f"{number};{label}") not in validation]
    test = [str(len(named) + 1), str(len(named) + 2)]
    write(folder / f"{prefix}-labels.csv", *labels)
    write(folder / f"{prefix}-train.csv", *train)
    write(folder / f"{prefix}-validation.csv", *validation)
    write(folder / f"{prefix}-test.csv", *test)
    for number in [*(number for number, _ in named), *test]:
        touch(*(folder / f"20bn-{prefix}" / number / f"{frame:05d}.jpg" for frame in (1, 2)))
    return folder


SOMETHING_V2 = (
    ("78687", "Holding [something] next to [something]", ["potato", "vicks vaporub bottle"]),
    ("42326", "Putting [something similar to other things] on the table", ["plates"]),
    ("100904", "Holding [something] next to [something]", ["a cup", "a box"]),
)


def make_something_v2(folder: Path, prefix: str = "something-something-v2-", answers: bool = False) -> Path:
    """Something-Something v2 in miniature: the first two clips are train, the third validation, one more test."""
    entries = [
        {
            "id": number,
            "label": template.replace("[something]", things[0]).lower(),
            "template": template,
            "placeholders": things,
        }
        for number, template, things in SOMETHING_V2
    ]
    labels = sorted({entry["template"].replace("[", "").replace("]", "") for entry in entries})
    lists = folder / "labels"
    write(lists / f"{prefix}labels.json", json.dumps({label: str(n) for n, label in enumerate(labels)}))
    write(lists / f"{prefix}train.json", json.dumps(entries[:2]))
    write(lists / f"{prefix}validation.json", json.dumps(entries[2:]))
    write(lists / f"{prefix}test.json", json.dumps([{"id": "1420"}]))
    if answers:
        write(lists / f"{prefix}test-answers.csv", f"1420;{labels[0]}")
    numbers = [*(number for number, _, _ in SOMETHING_V2), "1420"]
    touch(*(folder / "20bn-something-something-v2" / f"{number}.webm" for number in numbers))
    return folder
