from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from helpers import same_record

from omnifm.checkpoint.client_store import ClientStateStore, StoredStates
from omnifm.core.records import ClientState
from omnifm.core.serialization import read_aligned
from omnifm.utils.errors import CheckpointError


def state(number: float) -> ClientState:
    return ClientState({"w": torch.tensor([number])}, {"h": torch.ones(2)}, {"n": number})


def files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


def test_round_trip(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    digest = folder.write("CT-1", state(1.0))
    assert same_record(folder.read("CT-1", digest), state(1.0))
    assert folder.write("CT-1", state(1.0)) == digest
    assert folder.write("CT-1", state(2.0)) != digest
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("name", ["PET/CT", "..", ".", "a b", "Žilina", "../../etc"])
def test_any_name_has_a_folder_of_its_own_inside(tmp_path: Path, name: str) -> None:
    folder = ClientStateStore(tmp_path / "clients")
    digest = folder.write(name, state(1.0))
    (file,) = files(tmp_path)
    assert file.parent.parent == tmp_path / "clients"
    assert same_record(folder.read(name, digest), state(1.0))


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    digest = folder.write("CT-1", state(1.0))
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=f"{digest}.* is damaged"):
            folder.check("CT-1", digest)
        with pytest.raises(CheckpointError, match=f"{digest}.* is damaged"):
            folder.read_checked("CT-1", digest)
    path.write_bytes(whole)
    folder.check("CT-1", digest)
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=f"{digest}.* is damaged"):
        folder.read("CT-1", digest)


def test_a_state_is_read_once_to_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, opened = ClientStateStore(tmp_path), list[Path]()
    digest = folder.write("CT-1", state(1.0))

    def noted(path: Path) -> memoryview:
        opened.append(path)
        return read_aligned(path)

    monkeypatch.setattr("omnifm.checkpoint.client_store.read_aligned", noted)
    assert same_record(folder.read_checked("CT-1", digest), state(1.0))
    assert len(opened) == 1
    assert folder.read_checked("CT-1", None) == ClientState()


def test_writing_a_state_again_mends_its_file(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    digest = folder.write("CT-1", state(1.0))
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.write("CT-1", state(1.0)) == digest
    folder.check("CT-1", digest)


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"The state of client 'CT-1' cannot be read: .*CT-1"):
        ClientStateStore(tmp_path).read("CT-1", "0" * 64)
    with pytest.raises(CheckpointError, match="'CT-1' cannot be read"):
        ClientStateStore(tmp_path).check("CT-1", "0" * 64)


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match=r"'CT-1' cannot be written to .*: No space left.*make room"):
        ClientStateStore(tmp_path).write("CT-1", state(1.0))
    assert not files(tmp_path)


def test_what_is_not_kept_goes(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    one, two = folder.write("a", state(1.0)), folder.write("a", state(2.0))
    other = folder.write("b", state(1.0))
    folder.remove([("a", one), ("a", one)])
    assert len(files(tmp_path)) == 2
    folder.keep_only([("a", two)])
    assert [path.stem for path in files(tmp_path)] == [two]
    with pytest.raises(CheckpointError):
        folder.read("b", other)


def test_states_by_client_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    states = StoredStates(folder, {f"c{n}": folder.write(f"c{n}", state(float(n))) for n in range(11)})
    assert list(states) == [f"c{n}" for n in range(11)]
    assert all(states[name].notes["n"] == float(name[1:]) for name in states)
    copy = StoredStates(folder, states.digests)
    states.digests.clear()
    assert len(copy) == 11


def test_what_is_settled_is_flushed_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, flushed = ClientStateStore(tmp_path), set[str]()
    files = [("a", folder.write("a", state(1.0))), ("b", folder.write("b", state(2.0)))]
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    folder.fsync(files)
    assert flushed == {str(tmp_path / name) for name, _ in files} | {
        str(tmp_path / name / f"{digest}.safetensors") for name, digest in files
    }


def test_a_disk_that_is_full_when_it_settles_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ClientStateStore(tmp_path)
    file = ("CT-1", folder.write("CT-1", state(1.0)))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"'CT-1' cannot be written to .*: No space left.*make room"):
        folder.fsync([file])
