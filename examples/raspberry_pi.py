"""A label for every frame of a camera or a film, on a small computer: the exported model, and no torch.

    lrcn export --model camera-moves --to onnx --out camera-moves-onnx     # on a large computer
    python raspberry_pi.py camera-moves-onnx 0                             # on the small one; 0 is the camera

There: pip install --no-deps lrcn, and pip install onnxruntime numpy opencv-python-headless av pillow safetensors pyyaml
"""

import argparse
import time
from collections.abc import Iterator

import cv2
import numpy as np

from lrcn.runtime import RuntimeStream


def frames(source: str) -> Iterator[tuple[np.ndarray, float]]:
    """Frames uint8 (H, W, 3) RGB and their times in seconds: a camera's as they come, a film's at its own rate."""
    camera = source.isdecimal()
    capture = cv2.VideoCapture(int(source) if camera else source)
    if not capture.isOpened():
        raise SystemExit(f"{source} cannot be opened.")
    if camera:
        # The newest frame, not one that waited.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    rate, began, number = capture.get(cv2.CAP_PROP_FPS) or 25.0, time.monotonic(), 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), time.monotonic() - began if camera else number / rate
        number += 1
    capture.release()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="the folder that lrcn export wrote")
    parser.add_argument("source", help="the number of a camera, or a video")
    parser.add_argument("--int8", action="store_true", help="the graph of 8-bit numbers, if it was exported")
    parser.add_argument("--threads", type=int, default=4, help="of the processor")
    options = parser.parse_args()
    stream = RuntimeStream(options.model, int8=options.int8, threads=options.threads)
    shown = 0.0
    for frame, at in frames(options.source):
        began = time.perf_counter()
        answer = stream.push(frame, at)
        took = 1000 * (time.perf_counter() - began)
        shown = 0.9 * shown + 0.1 * took
        print(f"{at:8.2f} s  {answer.label:<20} {answer.probability:4.0%}  {shown:6.1f} ms", flush=True)
        for segment in answer.closed:
            print(f"          {segment.label} from {segment.start:.1f} to {segment.end:.1f} s", flush=True)
    last = stream.finish()
    for segment in last.closed if last is not None else ():
        print(f"          {segment.label} from {segment.start:.1f} to {segment.end:.1f} s", flush=True)


if __name__ == "__main__":
    main()
