"""The models that ship, on media that ship: what they see, and a page to show around.

The films are made on the spot: a camera goes over photos, and over a piece of film, on a known path, so the
truth is known for every frame. They are the same each time.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.data.video import read_clip
from lrcn.demo_film import BUNNY_SHOT, FILM_RATE, PHOTO_RATE, PHOTO_SHOTS, film, shipped, write_clip
from lrcn.demo_shots import DESCRIBER, DescribedFilm, describe_films, shots_section
from lrcn.demo_words import WORDS_MODELS, Words, words_of_media, words_section
from lrcn.errors import LrcnError
from lrcn.evaluate.global_motion import sure_moments, track
from lrcn.files import write_whole
from lrcn.icons import ICONS
from lrcn.models.zoo import load_model
from lrcn.predict import Recognition, recognize
from lrcn.report import (
    ClipView,
    Reference,
    Section,
    bars,
    clip_section,
    commands,
    legend,
    page,
    paragraph,
    table,
    tiles,
    unrolled,
)
from lrcn.text import clock

if TYPE_CHECKING:
    from lrcn.models.folder import Loaded

Report = Callable[[str], None]
Frames = NDArray[np.uint8]

MODELS = ("camera-moves", "camera-moves-single-frame")
NAMES = ("LRCN", "Single frame")
TRACKING = "Feature tracking"


@dataclass(frozen=True)
class _Seen:
    """A clip, what each model saw in it and how long each took."""

    anchor: str
    title: str
    text: str
    video: Path
    results: tuple[Recognition, Recognition]
    seconds: tuple[float, float]
    reference: Reference


def demo(
    out: Path,
    report: Report,
    *,
    models: tuple[str | Path, str | Path] = MODELS,
    describer: str | Path = DESCRIBER,
    words: tuple[str | Path, str | Path] = WORDS_MODELS,
    device: str = "auto",
) -> Path:
    """Runs models on the media that ship and writes `report.html` and the clips it shows.

    Args:
        out: folder, made when it is missing.
        report: called with each line for the terminal.
        models: the recurrent model and the one that judges every frame alone; names or folders.
        describer: writes the shot lists of the clips.
        words: a captioner and a joint embedding, for the pictures.
        device: as in `load_model`.

    Returns:
        The path of `report.html`.

    Raises:
        LrcnError: a model is missing or they have different labels, or `out` cannot be written.
    """
    out = Path(out)
    loaded = load_model(models[0], device), load_model(models[1], device)
    if loaded[0].labels != loaded[1].labels:
        raise LrcnError(
            f"{models[0]} and {models[1]} have different labels and cannot be compared: give two models of "
            "one task."
        )
    report("Making the clips: a camera goes over photos and film.")
    clips = _make_clips(out)
    for one in loaded:
        _warm_up(one)
    seen = []
    for clip in clips:
        seen.append(_see(clip, loaded))
        for line in _lines(seen[-1]):
            report(line)
    report("\nShot lists:")
    films = [(clip.title, clip.video) for clip in clips if clip.anchor in _DESCRIBED]
    shots = describe_films(films, describer, device, report)
    report("\nSentences about pictures, and pictures for sentences:")
    said = words_of_media(words, device, report)
    path = out / "report.html"
    write_whole(path, _page(seen, shots, said, loaded, out))
    report(f"The report: {path.resolve()} (open it in a browser)")
    return path


@dataclass(frozen=True)
class _Clip:
    anchor: str
    title: str
    text: str
    video: Path
    reference: Reference


def _make_clips(out: Path) -> list[_Clip]:
    """The clips of the demo, each with what is known of it, as files in `out`."""
    photos, photo_truth = film(PHOTO_SHOTS, PHOTO_RATE)
    write_clip(out / "photos.mp4", photos, PHOTO_RATE)
    laid_over, laid_over_truth = film([BUNNY_SHOT], FILM_RATE)
    write_clip(out / "moved-film.mp4", laid_over, FILM_RATE)
    write_whole(out / "film.mp4", shipped(BUNNY_SHOT.media).read_bytes())
    moments = sure_moments(track(out / "film.mp4"))
    tracking = Reference(
        TRACKING, np.array([m.time for m in moments]), [m.label for m in moments], exact=False
    )
    return [
        _Clip(
            "photos",
            "A camera goes over four photos",
            f"{len(PHOTO_SHOTS)} photos, filmed for {len(photos) / PHOTO_RATE:.0f} seconds by a camera "
            "whose path is known, so the truth is exact at every frame. Every frame counts, even the first "
            "one after a cut, when no motion has been seen yet.",
            out / "photos.mp4",
            photo_truth,
        ),
        _Clip(
            "moved-film",
            "The same over a film that plays",
            "Now the picture itself is alive: the character moves while a camera, laid over the film, "
            "moves too. Only the camera's moves count. The truth is exact again.",
            out / "moved-film.mp4",
            laid_over_truth,
        ),
        _Clip(
            "film",
            "A film as it is",
            "A shot from the film, only made smaller: a character climbs out of its den, and the "
            "camera follows it upwards a little, slowly, then stands still while the character stretches. "
            "Nobody wrote down its camera moves. The top row is a measurement by another method, feature "
            "tracking, which learns nothing and speaks only where it is sure.",
            out / "film.mp4",
            tracking,
        ),
    ]


def _see(clip: _Clip, loaded: tuple[Loaded, Loaded]) -> _Seen:
    results, seconds = [], []
    for one in loaded:
        began = time.perf_counter()
        results.append(recognize(one, clip.video))
        seconds.append(time.perf_counter() - began)
    return _Seen(
        clip.anchor,
        clip.title,
        clip.text,
        clip.video,
        (results[0], results[1]),
        (seconds[0], seconds[1]),
        clip.reference,
    )


def _warm_up(loaded: Loaded) -> None:
    """The first frames through a network also pay for setting it up."""
    recognize(loaded, np.zeros((20, 64, 64, 3), np.uint8))


def _lines(seen: _Seen) -> list[str]:
    """What was found in one clip, for the terminal."""
    verb = "right" if seen.reference.exact else f"as {seen.reference.name.lower()} has it"
    counts = [seen.reference.agreement(r) for r in seen.results]
    found = ", ".join(
        f"{name} {right} of {of} frames {verb}" for name, (right, of) in zip(NAMES, counts, strict=True) if of
    )
    main = seen.results[0]
    head = f"\n{seen.video}  ({seen.title.lower()})"
    wide = max(len(s.label) for s in main.segments)
    rows = [
        f"  {clock(s.start, tenths=True)} - {clock(s.end, tenths=True)}  {s.label:<{wide}}  {s.score:>4.0%}"
        for s in main.segments
    ]
    speed = f"  {len(main.times)} frames in {seen.seconds[0]:.2f} s"
    return [head, *rows, *([f"  {found}"] if found else []), speed]


_DESCRIBED = ("photos", "film")


def _page(
    seen: Sequence[_Seen],
    shots: Sequence[DescribedFilm],
    said: Words,
    loaded: tuple[Loaded, Loaded],
    out: Path,
) -> str:
    labels = loaded[0].labels
    lead = paragraph(
        "Does it turn left or right, come closer, or tip over? A single picture cannot tell: a frame of a "
        "pan to the left looks like a frame of a pan to the right. LRCN, a recurrent convolutional "
        "network, watches the frames one after the other and says at every moment how the camera moves. "
        "All that follows was computed when this page was made.",
        "lead",
    )
    sections = [
        Section("numbers", "How often it was right", _numbers(seen, labels, loaded[0])),
        *(
            clip_section(s.anchor, s.title, _view(s), ICONS, menu)
            for s, menu in zip(seen, _MENU, strict=True)
        ),
        shots_section(shots),
        words_section(said),
        Section(
            "how",
            "How it works",
            _how(seen[0], labels, loaded[0].model.config.recurrent.unit.upper()),
            "How it works",
        ),
        Section("time", "How long it took", _time(seen, loaded), "Speed"),
        Section("next", "What to do next", _next(out), "What next"),
        Section("credits", "Whose pictures these are", _CREDITS),
    ]
    return page("What is the camera doing?", lead + legend(labels, ICONS), sections, _footer())


_MENU = ("Photos", "Film, moved", "Film")


def _view(seen: _Seen) -> ClipView:
    first = read_clip(seen.video, times=[0.0]).frames[0]
    rows = list(zip(NAMES, seen.results, strict=True))
    return ClipView(
        seen.video, _jpeg(first), (first.shape[2], first.shape[1]), rows, seen.text, seen.reference
    )


def _numbers(seen: Sequence[_Seen], labels: Sequence[str], main: Loaded) -> str:
    exact = [s for s in seen if s.reference.exact]
    counts = np.array([[s.reference.agreement(r) for r in s.results] for s in exact]).sum(axis=0)
    shares = [right / max(of, 1) for right, of in counts.tolist()]
    frames = int(counts[0, 1])
    chance = 1 / len(labels)
    total = sum(len(s.results[0].times) for s in seen) / sum(s.seconds[0] for s in seen)
    notes = ("watches the frames one after the other", "the same task, each frame judged alone")
    rows = [(name, share, note) for name, share, note in zip(NAMES, shares, notes, strict=True)]
    rows.append(("Guessing", chance, f"one of {len(labels)} at random"))
    return (
        '<div class="figures"><div class="card"><h3>Frames named right, where the truth is exact</h3>'
        + bars(rows)
        + paragraph(
            f"Of the {frames} frames of the {len(exact)} clips with an exact truth; every frame counts, and "
            "its answer is the most probable of the labels at that moment.",
            "quiet small",
        )
        + '</div><div class="card">'
        + tiles(
            [
                (f"{total:,.0f}", f"frames per second on {_machine(main)}, decoding included"),
                (f"{len(seen)}", f"clips, {sum(s.results[0].end for s in seen):.0f} seconds in all"),
                (_size(main), "parameters in the network"),
            ]
        )
        + "</div></div>"
    )


def _how(seen: _Seen, labels: Sequence[str], unit: str) -> str:
    """Five frames of the first move, what the networks said of each, and words about it."""
    main, single = seen.results
    last = PHOTO_SHOTS[0].moves[0][1]
    wanted = np.linspace(0.25, 0.95, 5) * last
    places = [int(np.abs(main.times - t).argmin()) for t in wanted]
    pictures = read_clip(seen.video, times=main.times[places]).frames
    small = [
        _jpeg(cv2.resize(p.transpose(1, 2, 0), (136, 136), interpolation=cv2.INTER_AREA).transpose(2, 0, 1))
        for p in pictures
    ]
    said = [[one.labels[int(one.per_frame[p].argmax())] for p in places] for one in (main, single)]
    return (
        paragraph(
            f"A convolutional network (CNN) looks at each frame. A recurrent network ({unit}) takes what "
            "the CNN saw, adds it to what it remembers of the frames before, and gives a probability for "
            "every label, at every frame. The state it hands on (the arrows) is all it keeps, so a film "
            "can be of any length, or a camera that never stops."
        )
        + f'<div class="card">{unrolled(small, main.times[places].tolist(), (labels, *said), ICONS, unit)}'
        + paragraph(
            "Frames of the first clip; the truth of all of them: "
            f"{seen.reference.at(main.times[places])[0]}. The answers in the two last rows are the "
            "networks' own.",
            "quiet small",
        )
        + "</div>"
    )


def _time(seen: Sequence[_Seen], loaded: tuple[Loaded, Loaded]) -> str:
    head = (
        "clip",
        "length",
        "frames read",
        *(f"{n}: seconds" for n in NAMES),
        *(f"{n}: frames/s" for n in NAMES),
    )
    rows = []
    for s in seen:
        counts = [len(r.times) for r in s.results]
        speeds = [f"{n / t:,.0f}" for n, t in zip(counts, s.seconds, strict=True)]
        main = s.results[0]
        rows.append(
            (s.video.name, f"{main.end:.1f} s", str(counts[0]), *(f"{t:.2f}" for t in s.seconds), *speeds)
        )
    text = (
        f"Measured while this page was made, on {_machine(loaded[0])} ({platform.system()}, Python "
        f"{platform.python_version()}), decoding included. Other work on the machine slows it down."
    )
    return f'<div class="card">{table(head, rows, numbers=range(1, 7))}{paragraph(text, "quiet small")}</div>'


def _next(out: Path) -> str:
    return (
        '<div class="card">'
        + commands(
            [
                (
                    "Ask the same of a clip of your own, a folder of clips, or a URL:",
                    "lrcn recognize your-clip.mp4",
                ),
                (
                    "Get the clip back with its timeline drawn below the picture:",
                    "lrcn recognize your-clip.mp4 --save annotated.mp4",
                ),
                ("Log the moves of a whole folder as a table:", "lrcn recognize your-clips/ --format csv"),
                (
                    "Teach it something else: a folder with one folder of clips per class is all it takes.",
                    "lrcn train FOLDER-OF-CLASS-FOLDERS",
                ),
                ("Check what this page says:", f"lrcn recognize {out / 'photos.mp4'}"),
            ]
        )
        + "</div>"
    )


def _footer() -> str:
    return paragraph("Made by `lrcn demo`. Everything on this page is inside it; it fetches nothing.")


_CREDITS = """<ul>
<li>Galaxies: Hubble eXtreme Deep Field, NASA and ESA; public domain.</li>
<li>Rocket: Falcon 9 with DSCOVR, SpaceX; CC0.</li>
<li>Coffee: Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0.</li>
<li>Cat: Chelsea, Stéfan van der Walt; CC0.</li>
<li>Film: <cite>Big Buck Bunny</cite>, © 2008 Blender Foundation, www.bigbuckbunny.org; licensed under
<a href="https://creativecommons.org/licenses/by/3.0/" rel="noopener noreferrer">CC BY 3.0</a>; shortened and
scaled, and in one clip filmed again by a moving camera.</li>
</ul>"""


def _machine(loaded: Loaded) -> str:
    device = next(loaded.model.parameters()).device.type
    return f"{os.cpu_count()} CPU cores" if device == "cpu" else f"a {device.upper()} device"


def _size(loaded: Loaded) -> str:
    count = sum(p.numel() for p in loaded.model.parameters())
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count:,}"


def _jpeg(picture: Frames) -> bytes:
    """A picture (3, H, W) RGB as JPEG bytes."""
    bgr = np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
