"""Many processes train what one would, and one of them writes."""

import socket

import pytest
import torch
from made_clips import assert_same_weights, process, small_model, team_training, train_in_team
from safetensors.torch import load_file

from lrcn.train.distributed import Team, joined_team


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_alone_nothing_changes(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_team() as team:
        assert team == Team() and team.leads
        model = small_model()
        assert team.wrap(model) is model
        assert team.agree(True) is True and team.agree(False) is False
        team.wait()
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined_team() as team:
        assert team == Team()


def test_each_process_has_its_own_gpu():
    cuda = torch.device("cuda")
    assert [Team(rank, 2, rank).device(cuda) for rank in range(2)] == [
        torch.device("cuda", 0),
        torch.device("cuda", 1),
    ]
    assert Team(1, 2, 1).device(torch.device("cpu")) == torch.device("cpu")
    assert Team().device(cuda) == cuda


def test_two_processes_give_the_weights_of_one_with_twice_the_batch(tmp_path):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    port = free_port()
    both = [process(train_in_team, tmp_path / "two", rank, 2, port) for rank in range(2)]
    (tmp_path / "one").mkdir()
    team_training(tmp_path / "one", 0, Team(), batch=4)
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    for name in ("last", "best"):
        found = [load_file(tmp_path / "two" / f"{name}-{rank}.safetensors") for rank in range(2)]
        assert_same_weights(found[0], found[1])
        assert_same_weights(found[0], load_file(tmp_path / "one" / f"{name}-0.safetensors"), atol=1e-5)
    assert [(tmp_path / "two" / f"epochs-{rank}").read_text() for rank in range(2)] == ["3", "3"]
    written = [
        sorted(path.name for path in (tmp_path / "two" / f"own-{rank}").iterdir()) for rank in range(2)
    ]
    assert written == [["checkpoint", "log.jsonl"], []], "only the leader writes"
