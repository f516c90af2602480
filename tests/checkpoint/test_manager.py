from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
import torch
from helpers import same_checkpoint

from omnifm.checkpoint.client_store import ClientStateStore, StoredStates
from omnifm.checkpoint.file import write_checkpoint
from omnifm.checkpoint.manager import KEEP, CheckpointManager
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState, ServerState
from omnifm.utils.errors import CheckpointError


def checkpoint(folder: CheckpointManager, number: int, **clients: float) -> Checkpoint:
    """Make a checkpoint after ``number`` rounds, with these states in the folder."""
    states = {name: ClientState({"w": torch.tensor([value])}) for name, value in clients.items()}
    assert isinstance(folder.states, ClientStateStore)
    digests = {name: folder.states.write(name, state) for name, state in states.items()}
    server = ServerState({"w": torch.full((2,), float(number))}, number, notes={"n": number})
    return Checkpoint(server, StoredStates(folder.states, digests), {"before_local_training": (number, 0.25)})


def held(path: Path) -> dict[str, int]:
    """Return how many states each client has."""
    return {place.name: len(list(place.iterdir())) for place in sorted((path / "clients").iterdir())}


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointManager:
    return CheckpointManager(tmp_path)


def test_round_trip(folder: CheckpointManager, tmp_path: Path) -> None:
    kept = checkpoint(folder, 3, a=1.0, b=2.0)
    folder.write(kept)
    back = CheckpointManager(tmp_path).read_latest()
    assert back is not None
    assert same_checkpoint(back, kept)
    assert back.best == {"before_local_training": (3, 0.25)}


def test_states_of_elsewhere_are_taken_in(folder: CheckpointManager, tmp_path: Path) -> None:
    kept = Checkpoint(ServerState({"w": torch.ones(1)}, 1), {"a": ClientState({"w": torch.zeros(1)})})
    folder.write(kept)
    back = CheckpointManager(tmp_path).read_latest()
    assert back is not None
    assert same_checkpoint(back, kept)


def test_the_last_rounds_are_kept(folder: CheckpointManager, tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        folder.write(checkpoint(folder, number))
    names = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert names == [f"round-{number:06d}.safetensors" for number in (8, 9, 10, 11)[-KEEP:]]


def test_no_snapshot_yet(tmp_path: Path) -> None:
    assert CheckpointManager(tmp_path / "none").read_latest() is None


def test_states_go_when_no_snapshot_needs_them(folder: CheckpointManager, tmp_path: Path) -> None:
    folder.write(checkpoint(folder, 1, a=1.0, b=1.0))
    folder.write_best("before_local_training", checkpoint(folder, 1, a=1.0, b=1.0))
    folder.write(checkpoint(folder, 2, a=2.0, b=1.0))
    folder.write(checkpoint(folder, 3, a=3.0, b=1.0))
    assert held(tmp_path) == {"a": 3, "b": 1}, "the best round needs the first"
    folder.write_best("before_local_training", checkpoint(folder, 3, a=3.0, b=1.0))
    assert held(tmp_path) == {"a": 2, "b": 1}
    folder.write(checkpoint(folder, 4, a=3.0, b=1.0))
    assert held(tmp_path) == {"a": 1, "b": 1}
    assert same_checkpoint(folder.read_best("before_local_training"), checkpoint(folder, 3, a=3.0, b=1.0))


def test_what_a_crash_left_goes_and_what_is_needed_stays(folder: CheckpointManager, tmp_path: Path) -> None:
    folder.write(checkpoint(folder, 1, a=1.0))
    folder.write_best("after_local_training", checkpoint(folder, 1, a=1.0))
    folder.write(checkpoint(folder, 2, a=2.0))
    checkpoint(folder, 3, a=3.0, b=3.0)  # the round after it was cut short
    again = CheckpointManager(tmp_path)
    assert again.read_latest() is not None
    assert held(tmp_path) == {"a": 2, "b": 0}
    again.write(checkpoint(again, 3, a=3.0))
    again.write(checkpoint(again, 4, a=4.0))
    assert held(tmp_path)["a"] == 3


def test_a_damaged_one_is_passed_over_with_a_warning(
    folder: CheckpointManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        folder.write(checkpoint(folder, number, a=float(number)))
    spoil(tmp_path / "round-000002.safetensors")
    with caplog.at_level(logging.WARNING, logger="omnifm"):
        latest = CheckpointManager(tmp_path).read_latest()
    assert latest is not None
    assert latest.server.round == 1
    assert latest.clients["a"].personal["w"].item() == 1.0
    assert "round-000002.safetensors is damaged" in caplog.text
    assert "Going back to the one before it." in caplog.text


def test_so_is_one_with_a_damaged_state(
    folder: CheckpointManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write(checkpoint(folder, 1, a=1.0))
    later = checkpoint(folder, 2, a=2.0)
    folder.write(later)
    assert isinstance(later.clients, StoredStates)
    spoil(tmp_path / "clients/a" / f"{later.clients.digests['a']}.safetensors")
    latest = CheckpointManager(tmp_path).read_latest()
    assert latest is not None
    assert latest.server.round == 1
    assert "its digest does not match its name. Going back to the one before it." in caplog.text


def test_all_damaged(folder: CheckpointManager, tmp_path: Path) -> None:
    for number in (1, 2):
        folder.write(checkpoint(folder, number))
    for path in tmp_path.glob("*.safetensors"):
        spoil(path)
    with pytest.raises(CheckpointError, match=r"All checkpoints in .* are damaged"):
        CheckpointManager(tmp_path).read_latest()


def test_a_damaged_best_is_reported(folder: CheckpointManager, tmp_path: Path) -> None:
    folder.write_best("before_local_training", checkpoint(folder, 1, a=1.0))
    next((tmp_path / "clients/a").iterdir()).unlink()
    with pytest.raises(CheckpointError, match="The state of client 'a' cannot be read"):
        folder.read_best("before_local_training")


def test_full_disk_leaves_the_older_ones(
    folder: CheckpointManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        folder.write(checkpoint(folder, number, a=float(number)))
    third = checkpoint(folder, 3)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"round-000003.* cannot be written: No space left.*make room"):
            folder.write(third)
    latest = CheckpointManager(tmp_path).read_latest()
    assert latest is not None
    assert latest.server.round == 2
    assert held(tmp_path) == {"a": 2}


def test_a_foreign_file_is_left_alone(folder: CheckpointManager, tmp_path: Path) -> None:
    folder.write(checkpoint(folder, 1, a=1.0))
    write_checkpoint(tmp_path / "other.safetensors", {}, {"clients": {}})
    assert CheckpointManager(tmp_path).read_latest() is not None
    assert (tmp_path / "other.safetensors").exists()


def test_one_of_an_older_version_is_distinguished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = {"server": {"round": 1, "notes": {}}, "clients": [["a", {"notes": {}}]], "best": {}}
    write_checkpoint(tmp_path / "round-000001.safetensors", {"server/shared/w": torch.ones(1)}, plain)
    with pytest.raises(CheckpointError, match="All checkpoints"):
        CheckpointManager(tmp_path).read_latest()
    assert "round-000001.safetensors was written by another version of OmniFM." in caplog.text
