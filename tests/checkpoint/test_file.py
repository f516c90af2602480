from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnifm.checkpoint import file as checkpoint
from omnifm.checkpoint.file import read_checkpoint, read_plain, write_checkpoint
from omnifm.utils.errors import CheckpointError
from omnifm.utils.signals import Interrupted, cooperative, interruptible

TENSORS = {
    "server/weight": torch.tensor([[1.5, -2.0], [torch.nan, torch.inf]]),
    "server/count": torch.tensor(7),
    "client0/empty": torch.zeros(0, 4),
    "client0/flags": torch.tensor([True, False]),
}
PLAIN = {"round": 3, "clients": ["Žilina", "CT-1"], "best": {"before_local_training": [3, 0.1]}}


def saved(path: Path) -> Path:
    write_checkpoint(path / "one.safetensors", TENSORS, PLAIN)
    return path / "one.safetensors"


def test_round_trip(tmp_path: Path) -> None:
    tensors, plain = read_checkpoint(saved(tmp_path / "new" / "folders"))
    assert plain == PLAIN == read_plain(tmp_path / "new" / "folders" / "one.safetensors")
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (value.dtype, value.shape)
        assert torch.equal(tensors[name].nan_to_num(-7), value.nan_to_num(-7))


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file_is_damaged(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"one\.safetensors is damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(tmp_path: Path, flip: int) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="is damaged"):
            read_checkpoint(path)


def test_foreign_files_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"plain": "{}"}, {"plain": "{}", "sha256": "0"}):
        save_file({"w": torch.ones(2)}, path, metadata)
        with pytest.raises(CheckpointError, match="is damaged"):
            read_checkpoint(path)
    path.write_text("round = 3")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*none\.safetensors"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_full_disk_leaves_the_old_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def full(_: Path, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_checkpoint(path, {}, {})
    assert path.read_bytes() == before


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("loop", [cooperative, contextlib.nullcontext])
def test_a_signal_never_cuts_a_file_in_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    real = os.fsync
    path = saved(tmp_path)
    before = path.read_bytes()

    def interrupted(descriptor: int) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(Interrupted), interruptible(), loop():
        write_checkpoint(path, {}, "new")
    if loop is cooperative:
        assert read_checkpoint(path) == ({}, "new")
    else:
        assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
