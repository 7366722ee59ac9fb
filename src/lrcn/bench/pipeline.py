"""How fast video is read and recognised."""

from lrcn.bench.measuring import Rows, side_by_side


def decode(clip: str = "", size: int = 112, repeats: int = 5) -> Rows:
    """Decoding and resizing one clip, beside plain PyAV with OpenCV's resize in the same run.

    Args:
        clip: a video file; empty takes the sample film that ships.
        size: side of the frames, pixels.
        repeats: passes, of which the median counts.
    """
    import av
    import cv2

    from lrcn.data.video import Resize, open_video
    from lrcn.demo_film import shipped

    path = clip or str(shipped("big-buck-bunny.mp4"))

    def plain() -> int:
        with av.open(path) as container:
            frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            return sum(len(cv2.resize(frame, (size, size))) > 0 for frame in frames)

    def ours() -> int:
        with open_video(path, resize=Resize(size)) as reader:
            return sum(1 for _ in reader.frames())

    ways = {"PyAV to RGB, then cv2.resize": plain, "lrcn": ours}
    return side_by_side(ways, repeats, "ratio_to_plain")


def recognition(clip: str = "", model: str = "camera-moves", repeats: int = 5) -> Rows:
    """The whole way from a file to labels, beside the CNN alone on the same frames held ready in memory.

    Args:
        clip: a video file; empty takes the sample film that ships.
        model: name or folder.
        repeats: passes, of which the median counts.
    """
    import torch

    from lrcn.data.video import read_clip
    from lrcn.demo_film import shipped
    from lrcn.models.zoo import load_model
    from lrcn.predict import recognize

    path = clip or str(shipped("big-buck-bunny.mp4"))
    loaded = load_model(model)
    frames = torch.from_numpy(
        read_clip(path, rate=loaded.sampling.rate, resize=loaded.preprocess.resize).frames
    )

    def whole() -> int:
        return len(recognize(loaded, path).times)

    @torch.inference_mode()
    def network() -> int:
        return len(loaded.model.encoder(frames))

    return side_by_side({"CNN alone": network, "file to labels": whole}, repeats, "ratio_to_cnn")
