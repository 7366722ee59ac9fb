"""Two of the models on a page of Gradio's: a photo -> sentences, a video -> what happens, and when.

pip install lrcn gradio
python gradio_demo.py
"""

from typing import Any

import gradio as gr

import lrcn
from lrcn.predict_captions import caption

captioner = lrcn.load("captions-flickr8k")
recognizer = lrcn.load("camera-moves")


def sentences(photo: Any) -> str:
    """The most probable sentences about a photo, one a line."""
    if photo is None:
        raise gr.Error("Choose a photo first.")
    found = caption(captioner, photo, best=captioner.decoding.beam)
    return "\n".join([found.caption, *(told.caption for told in found.others)])


def moves(video: str | None) -> tuple[dict[str, float], list[list[Any]]]:
    """How probable each label is of the whole video, and its segments."""
    if video is None:
        raise gr.Error("Choose a video first.")
    try:
        seen = lrcn.recognize(recognizer, video)
    except lrcn.LrcnError as error:
        raise gr.Error(str(error)) from error
    rows = [[round(s.start, 2), round(s.end, 2), s.label, round(s.score, 3)] for s in seen.segments]
    return seen.probabilities, rows


with gr.Blocks(title="lrcn") as page:
    gr.Markdown("# lrcn\nRecurrent convolutional networks that watch.")
    with gr.Tab("A video"):
        gr.Interface(
            moves,
            gr.Video(label="Video"),
            [gr.Label(label="The whole"), gr.Dataframe(headers=["from, s", "to, s", "label", "score"])],
            flagging_mode="never",
        )
    with gr.Tab("A photo"):
        gr.Interface(
            sentences,
            gr.Image(type="numpy", label="Photo"),
            gr.Textbox(label="Sentences"),
            flagging_mode="never",
        )

if __name__ == "__main__":
    page.launch()
