"""The laws of the describer of shots, and its model folder."""

import json

import pytest
import torch
from made_clips import assert_same_weights
from made_shots import SIDE, WORDS, describer_config, tiny_describer

from lrcn.config import from_values, to_values
from lrcn.errors import LrcnError
from lrcn.generate import greedy
from lrcn.models.captioner import Captioner
from lrcn.models.describer_folder import load_describer
from lrcn.models.shot_describer import ShotDescriber, ShotDescriberConfig, begin_from
from lrcn.models.shot_describer_folder import load_shot_describer, save_shot_describer
from lrcn.models.zoo import load


@pytest.fixture(scope="module")
def describer() -> ShotDescriber:
    return tiny_describer().model


def frames_of(shots=3, key_frames=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (shots, key_frames, 3, SIDE, SIDE), generator=generator).to(torch.uint8)


def seen_of(shots=3):
    return torch.rand(shots, 9, generator=torch.Generator().manual_seed(2)).softmax(1)


READ = torch.tensor([[0, 2, 3, 4], [0, 7, 2, 2], [0, 5, 5, 1]])


@torch.no_grad()
def test_whole_sentences_equal_steps_and_a_batch_each_alone(describer):
    frames, seen = frames_of(), seen_of()
    whole = describer(frames, READ, seen=seen)
    state = describer.initial_state(frames, seen=seen)
    for step in range(READ.shape[1]):
        scores, state = describer.step(READ[:, step], state)
        torch.testing.assert_close(scores, whole[:, step], atol=1e-5, rtol=0)
    for n in range(3):
        alone = describer(frames[n : n + 1], READ[n : n + 1], seen=seen[n : n + 1])
        torch.testing.assert_close(alone[0], whole[n], atol=1e-5, rtol=0)
    maps = describer.captioner.encoder.maps(frames.flatten(0, 1)).unflatten(0, (3, 2))
    torch.testing.assert_close(describer(None, READ, seen=seen, maps=maps), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_was_seen_and_every_key_frame_count(describer):
    frames, seen = frames_of(), seen_of()
    whole = describer(frames, READ, seen=seen)
    assert not torch.allclose(describer(frames, READ, seen=seen.roll(1, 1)), whole)
    for place in range(2):
        other = frames.clone()
        other[:, place] = 255 - other[:, place]
        assert not torch.allclose(describer(other, READ, seen=seen), whole)
    # Attention chooses among places, whatever the order of the frames.
    torch.testing.assert_close(describer(frames.flip(1), READ, seen=seen), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_motion_nothing_is_told_of_it_and_frames_are_one():
    model = tiny_describer(pooled=True).model
    frames = frames_of()
    whole = model(frames, READ)
    torch.testing.assert_close(model(frames, READ, seen=seen_of()), whole)
    cells = model.look(frames).memory["cells"]
    singles = [model.look(frames[:, k : k + 1]).memory["cells"] for k in range(2)]
    torch.testing.assert_close(cells, sum(singles) / 2)
    assert len(greedy(model.step, model.initial_state(frames), max_length=3)) == 3


def test_only_what_should_learn_learns(describer):
    describer.train()
    assert describer.captioner.training and not describer.recognizer.training
    describer(frames_of(), READ, seen=seen_of()).sum().backward()
    moved = {name for name, weight in describer.named_parameters() if weight.grad is not None}
    describer.eval().zero_grad()
    assert "tell.weight" in moved and any(name.startswith("captioner.decoder") for name in moved)
    assert not any(name.startswith(("recognizer", "captioner.encoder.backbone")) for name in moved)


@torch.no_grad()
def test_it_begins_as_the_captioner_it_comes_from():
    torch.manual_seed(5)
    config = describer_config(pooled=True, key_frames=1)
    begun = Captioner(config.captioner, WORDS.size - 2).eval()
    model = ShotDescriber(config, WORDS.size).eval()
    begin_from(model.captioner, begun)
    frames, read = frames_of(key_frames=1), READ.clamp(max=WORDS.size - 3)
    expected = begun(frames[:, 0], read)
    torch.testing.assert_close(model(frames, read)[..., : WORDS.size - 2], expected)


@pytest.mark.parametrize("changes", [{}, {"pooled": True}, {"key_frames": 3}], ids=str)
def test_a_folder_gives_the_same_back(tmp_path, changes):
    loaded = tiny_describer(**changes)
    save_shot_describer(tmp_path / "model", loaded, metrics={"headline": "x"}, card="# Card\n", half=False)
    again = load(tmp_path / "model", "cpu", tasks=("describe",))
    assert_same_weights(loaded.model.state_dict(), again.model.state_dict())
    for name in ("tokenizer", "preprocess", "watched", "sampling", "decoding"):
        assert getattr(again, name) == getattr(loaded, name)
    assert again.metrics == {"headline": "x"} and again.slots is None and not again.model.training
    with pytest.raises(LrcnError, match="describes shots with a captioner and a recogniser"):
        load_describer(tmp_path / "model")


def test_a_folder_that_does_not_fit_is_told(tmp_path):
    save_shot_describer(tmp_path / "model", tiny_describer())
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config["sampling"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(LrcnError, match="lacks sampling"):
        load_shot_describer(tmp_path / "model")


def test_settings_that_make_no_sense_are_told():
    values = to_values(describer_config())
    assert from_values(ShotDescriberConfig, values) == describer_config()
    for changes, told in (
        ({"key_frames": 0}, "key_frames is 0"),
        ({"labels": []}, "labels has 0 labels"),
        ({"captioner": {}}, "captioner.decoder.attention is 0"),
    ):
        with pytest.raises(LrcnError, match=told):
            from_values(ShotDescriberConfig, values | changes)


def test_what_is_no_shot_is_told(describer):
    for frames, seen, told in (
        (frames_of()[:, 0], seen_of(), "it was given torch.uint8"),
        (None, seen_of(), "it was given nothing"),
        (frames_of().float(), seen_of(), "torch.float32"),
        (frames_of(), None, "give seen"),
        (frames_of(), seen_of()[:2], "give seen"),
    ):
        with pytest.raises(LrcnError, match=told):
            describer.look(frames, seen=seen)
