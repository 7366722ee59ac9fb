"""Recurrent convolutional networks that watch video: frames -> CNN -> LSTM -> what happens, and when.

    import lrcn

    model = lrcn.load("camera-moves")
    seen = model.recognize("clip.mp4")
    seen.label, seen.probability                # of the whole clip
    seen.per_frame                              # (T, K) probabilities
    for segment in seen.segments:               # what happens from when to when, seconds
        print(segment.start, segment.end, segment.label)

Letters in every docstring: B clips, T frames, C H W channels and pixels, D frame feature, S recurrent size, K classes.
Frames are uint8 RGB until the model; times are seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lrcn.errors import LrcnError

if TYPE_CHECKING:
    from lrcn.models.recognizer import Recognizer
    from lrcn.models.zoo import list_models, load
    from lrcn.pool import StreamPool
    from lrcn.predict import Recognition, recognize
    from lrcn.search import Index
    from lrcn.segments import Segment
    from lrcn.sentences import Caption
    from lrcn.stream import Stream

    __version__: str

__all__ = [
    "Caption",
    "Index",
    "LrcnError",
    "Recognition",
    "Recognizer",
    "Segment",
    "Stream",
    "StreamPool",
    "__version__",
    "list_models",
    "load",
    "recognize",
]

# Looked up when first used, so that `import lrcn` is quick and loads no torch.
_HOMES = {
    "Caption": "lrcn.sentences:Caption",
    "Index": "lrcn.search:Index",
    "Recognition": "lrcn.predict:Recognition",
    "Recognizer": "lrcn.models.recognizer:Recognizer",
    "Segment": "lrcn.segments:Segment",
    "Stream": "lrcn.stream:Stream",
    "StreamPool": "lrcn.pool:StreamPool",
    "list_models": "lrcn.models.zoo:list_models",
    "load": "lrcn.models.zoo:load",
    "recognize": "lrcn.predict:recognize",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("lrcn")
    elif name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'lrcn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
