"""The arithmetic of laying clips end to end, and what rows of it hold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_clips import MadeClips

from lrcn.data.datasets import IGNORED_LABEL
from lrcn.data.streams import Layout, Streams, StreamsConfig, collate_streams
from lrcn.errors import LrcnError


def clips_of(lengths, begins=None, per_frame=False) -> MadeClips:
    """Clips whose every frame says (item, place)."""
    maps = [
        torch.tensor([[n, place] for place in range(length)]).view(-1, 2) for n, length in enumerate(lengths)
    ]
    labels = [torch.arange(length) % 3 if per_frame else n % 3 for n, length in enumerate(lengths)]
    return MadeClips(maps, labels)


def layout_of(lengths, begins) -> Layout:
    return Layout(np.array(lengths), np.array([True, *begins[1:]]))


layouts = st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=8).map(
    lambda items: layout_of([length for length, _ in items], [begins for _, begins in items])
)


def frames_of(row):
    """(item, place, begins) of every frame of a row."""
    return [
        (part.item, place, part.begins and place == part.first)
        for part in row
        for place in range(part.first, part.last)
    ]


@given(
    layouts, st.integers(1, 5), st.integers(1, 4), st.integers(1, 2), st.integers(0, 99), st.integers(0, 3)
)
def test_each_stream_goes_through_its_piece_of_one_tape(layout, length, streams, world, seed, epoch):
    source = Streams(clips_of(layout.lengths.tolist()), length, layout)
    ranks = [source.sampler(streams, seed, rank, world) for rank in range(world)]
    tape = [
        (int(item), place, bool(place == 0 and layout.begins[item]))
        for item in ranks[0].tape(epoch)
        for place in range(layout.lengths[item])
    ]
    steps = ranks[0].steps
    assert streams * world * (steps - 1) < len(tape) <= streams * world * steps
    for rank, sampler in enumerate(ranks):
        batches = list(sampler.bound(epoch))
        assert len(batches) == len(sampler) == len(sampler.bound(epoch))
        for number, batch in enumerate(batches):
            wanted = min(length, steps - number * length)
            assert [len(frames_of(row)) for row in batch] == [wanted] * streams
        for stream in range(streams):
            first = (rank * streams + stream) * steps
            item, place, _ = tape[first % len(tape)]
            expected = [(item, place, True), *(tape[(first + step) % len(tape)] for step in range(1, steps))]
            assert [frame for batch in batches for frame in frames_of(batch[stream])] == expected
        for start in range(len(batches) + 1):
            assert list(sampler.bound(epoch, start)) == batches[start:]
            assert len(sampler.bound(epoch, start)) == len(batches) - start
        assert {part.view for batch in batches for row in batch for part in row} == {epoch}


@given(layouts, st.integers(0, 99), st.integers(0, 3))
def test_the_tape_has_every_item_once_and_keeps_those_of_a_clip_together(layout, seed, epoch):
    tape = Streams(clips_of(layout.lengths.tolist()), 4, layout).sampler(1, seed).tape(epoch).tolist()
    assert sorted(tape) == list(range(len(layout.lengths)))
    for before, item in zip([None, *tape], tape, strict=False):
        assert layout.begins[item] or before == item - 1


def test_each_epoch_has_an_order_of_its_own_that_follows_from_the_seed():
    layout = layout_of([2] * 12, [True] * 12)
    source = Streams(clips_of([2] * 12), 4, layout)
    orders = {
        (seed, epoch): tuple(source.sampler(2, seed).tape(epoch).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert orders[0, 1] == tuple(source.sampler(2, 0).tape(1).tolist())


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 3), st.booleans()
)
def test_a_batch_holds_what_the_stretches_name(lengths, length, streams, per_frame):
    clips = clips_of(lengths, per_frame=per_frame)
    source = Streams(clips, length)
    assert len(source) == len(lengths)
    sampler = source.sampler(streams, 0)
    for rows in sampler.bound(0):
        batch = collate_streams([source[row] for row in rows])
        assert set(batch) == {"maps", "labels", "cont", "index"}
        assert batch["index"].tolist() == [row[0].item for row in rows]
        frames = [[(item, place) for item, place, _ in frames_of(row)] for row in rows]
        assert batch["maps"].long().tolist() == [[list(frame) for frame in row] for row in frames]
        assert batch["labels"].tolist() == [
            [place % 3 if per_frame else item % 3 for item, place in row] for row in frames
        ]
        assert batch["cont"].tolist() == [
            [float(not begins) for *_, begins in frames_of(row)] for row in rows
        ]


def test_a_shorter_clip_that_stands_in_for_another_teaches_nothing_beyond_its_end():
    source = Streams(clips_of([2, 2]), 4, layout_of([4, 4], [True, True]))
    (row,) = next(iter(source.sampler(1, 0).bound(0)))
    item = source[row]
    number = row[0].item
    assert item["label"].tolist() == [number, number, IGNORED_LABEL, IGNORED_LABEL]
    assert len(item["maps"]) == 4 and item["cont"].tolist() == [0, 1, 1, 1]


def test_nothing_to_lay_end_to_end_is_refused():
    with pytest.raises(LrcnError, match="no frames to lay end to end"):
        Streams(MadeClips([], []), 4)
    with pytest.raises(LrcnError, match=r"data\.streams\.length is 0"):
        StreamsConfig(length=0)
