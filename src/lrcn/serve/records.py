"""What is answered, as types: the schema at /openapi.json is made of them."""

from dataclasses import dataclass


@dataclass
class Problem:
    """What went wrong, in one sentence."""

    error: str


@dataclass
class Status:
    """How the server is."""

    status: str


@dataclass
class RecognizerInfo:
    """A recogniser: its K labels, the frames a second it looks at (null: all), and whether it can be asked live."""

    name: str
    labels: list[str]
    rate: float | None
    live: bool


@dataclass
class ModelInfo:
    """A model."""

    name: str


@dataclass
class SearchInfo:
    """Photos that can be searched."""

    name: str
    photos: int


@dataclass
class Models:
    """What is served; null is not."""

    recognize: RecognizerInfo | None
    caption: ModelInfo | None
    describe: ModelInfo | None
    search: SearchInfo | None


@dataclass
class LimitsInfo:
    """What a request may ask for: bytes, seconds, pixels and counts."""

    upload_bytes: int
    video_seconds: float
    video_pixels: int
    pixels: int
    live_connections: int
    live_frame_bytes: int
    live_pixels: int
    idle_seconds: float
    seconds: float


@dataclass
class About:
    """The server."""

    version: str
    models: Models
    limits: LimitsInfo


@dataclass
class FrameLabel:
    """The most probable label at a moment, seconds."""

    time: float
    label: str
    probability: float


@dataclass
class LabelSegment:
    """What happens from when to when, seconds."""

    start: float
    end: float
    label: str
    score: float


@dataclass
class Recognized:
    """What happens in a video; `path` is the name the upload came with."""

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    per_frame: list[FrameLabel]
    segments: list[LabelSegment]
    warning: str | None = None


@dataclass
class CaptionChoice:
    """Another sentence, and the natural logarithm of its probability."""

    caption: str
    log_prob: float


@dataclass
class Captioned:
    """What was written about a photo, the most probable first."""

    path: str
    caption: str
    log_prob: float
    others: list[CaptionChoice]


@dataclass
class ShotSentence:
    """What else could be said of a shot."""

    sentence: str
    log_prob: float


@dataclass
class ShotDescription:
    """What was written about a shot, and how the camera moves in it; `thumbnail` is a data: address of a JPEG."""

    start: float
    end: float | None
    sentence: str
    log_prob: float | None = None
    move: str | None = None
    moves: list[LabelSegment] | None = None
    thumbnail: str | None = None
    others: list[ShotSentence] | None = None


@dataclass
class Described:
    """What was written about a video."""

    path: str
    shots: list[ShotDescription]
    labels: dict[str, str] | None = None
    warning: str | None = None


@dataclass
class FoundPhoto:
    """A photo that was found: its name below the folder, the cosine, and where its pixels are."""

    name: str
    score: float
    thumbnail: str
    photo: str


@dataclass
class Found:
    """The photos that fit best, the best first, of how many; `unknown` are words that say nothing to the model."""

    results: list[FoundPhoto]
    photos: int
    unknown: list[str]
