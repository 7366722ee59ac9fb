"""How much a stranger may ask for."""

from dataclasses import dataclass, field, fields
from typing import Any

from lrcn.errors import LrcnError


def _limit(default: float, tells: str) -> Any:
    return field(default=default, metadata={"tells": tells})


@dataclass(frozen=True)
class Limits:
    """All limits of a server; each is an option of `lrcn serve` of the same name.

    Attributes:
        upload_bytes: of one file, counted while it comes.
        upload_seconds: from its first byte to its last.
        stall_seconds: without a byte.
        uploads: that are coming or being used; with `upload_bytes`, the most that lies on the disk.
        video_seconds: how long a video may be.
        frames: of a video.
        frame_rate: frames of a video within any one second.
        video_pixels: of a frame of a video.
        pixels: of a photo.
        workers: jobs at the same time.
        queue: jobs that wait.
        seconds: that a job may work.
        live_connections: at the same time.
        live_frame_bytes: of a frame that is sent live.
        live_pixels: of such a frame.
        idle_seconds: without a message on a live connection, or without one being taken.
        connections: of all kinds.

    Raises:
        LrcnError: one is not above 0.
    """

    upload_bytes: int = _limit(64 << 20, "bytes of an uploaded file")
    upload_seconds: float = _limit(120.0, "seconds that an upload may take")
    stall_seconds: float = _limit(10.0, "seconds of an upload without a byte")
    uploads: int = _limit(16, "uploads at the same time, coming or being used")
    video_seconds: float = _limit(300.0, "seconds that a video may last")
    frames: int = _limit(20_000, "frames that a video may have")
    frame_rate: int = _limit(240, "frames that a video may have in any second")
    video_pixels: int = _limit(4096 * 2304, "pixels of a video's frame")
    pixels: int = _limit(50_000_000, "pixels of a photo")
    workers: int = _limit(2, "jobs at the same time")
    queue: int = _limit(8, "jobs that wait")
    seconds: float = _limit(120.0, "seconds that a job may work")
    live_connections: int = _limit(64, "live connections at the same time")
    live_frame_bytes: int = _limit(1 << 20, "bytes of a live frame")
    live_pixels: int = _limit(3840 * 2160, "pixels of a live frame")
    idle_seconds: float = _limit(60.0, "seconds of silence on a live connection")
    connections: int = _limit(512, "connections of all kinds")

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not 0 < value < float("inf"):
                raise LrcnError(f"The limit {one.name} is {value}: give a number above 0.")
