from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
import torch
from helpers import same_record

from omnifm.core.records import Broadcast, Upload
from omnifm.engines.shared_memory import SharedMemory


def upload(fill: float, size: int = 5) -> Upload:
    change = {
        "a.weight": torch.full((size, 3), fill),
        "odd": torch.arange(7, dtype=torch.uint8),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "flags": torch.tensor([True, False]),
        "half": torch.full((3,), fill, dtype=torch.bfloat16),
        "strided": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
    }
    return Upload("Žilina", 10, 0.1, change, {"x": torch.tensor([fill], dtype=torch.float64)}, {"group": "CT"})


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory()


def test_what_is_read_is_what_was_written(memory: SharedMemory) -> None:
    region = memory.claim()
    size = memory.write(region, upload(1.5))
    back = memory.read(region, size, Upload)
    assert same_record(back, upload(1.5))
    assert (back.client, back.samples, back.loss, back.notes) == ("Žilina", 10, 0.1, {"group": "CT"})
    assert back.change["half"].dtype == torch.bfloat16


def test_reading_makes_no_copy(memory: SharedMemory) -> None:
    region = memory.claim()
    size = memory.write(region, upload(1.0))
    one, other = (memory.read(region, size, Upload) for _ in range(2))
    one.change["a.weight"][2, 1] = 7
    assert other.change["a.weight"][2, 1] == 7


def test_a_region_grows_and_older_views_stay(memory: SharedMemory) -> None:
    region = memory.claim()
    small = memory.read(region, memory.write(region, upload(1.0)), Upload)
    size = memory.write(region, upload(2.0, size=100_000))
    assert same_record(memory.read(region, size, Upload), upload(2.0, size=100_000))
    assert small.samples == 10


def test_regions_do_not_touch(memory: SharedMemory) -> None:
    regions = [memory.claim() for _ in range(3)]
    sizes = [memory.write(region, upload(float(region), size=1000 * (region + 1))) for region in regions]
    for region, size in zip(regions, sizes, strict=True):
        assert same_record(memory.read(region, size, Upload), upload(float(region), size=1000 * (region + 1)))


def test_a_region_is_free_again_when_the_last_view_is_gone(memory: SharedMemory) -> None:
    region = memory.claim()
    size = memory.write(region, upload(1.0))
    kept = memory.read(region, size, Upload, release=True).change["a.weight"][1]
    gc.collect()
    assert memory.claim() != region
    assert kept.tolist() == [1.0, 1.0, 1.0]
    del kept
    gc.collect()
    assert memory.claim() == region


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_child_writes_and_the_parent_reads(memory: SharedMemory) -> None:
    board, region = memory.claim(), memory.claim()
    sent = Broadcast(3, {"w": torch.arange(4.0)})
    size = memory.write(board, sent)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        received = memory.read(board, size, Broadcast)
        answer = Upload("child", 1, 0.0, {"w": received.shared["w"] * 2})
        os.write(writing, str(memory.write(region, answer)).encode())
        os._exit(0)
    length = int(os.read(reading, 20))
    os.waitpid(child, 0)
    back = memory.read(region, length, Upload)
    assert back.change["w"].tolist() == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_nothing_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = set(Path("/dev/shm").iterdir())
    memory = SharedMemory()
    memory.write(memory.claim(), upload(1.0))
    assert set(Path("/dev/shm").iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_without_memfd_a_nameless_file_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    memory = SharedMemory()
    region = memory.claim()
    assert same_record(memory.read(region, memory.write(region, upload(4.0)), Upload), upload(4.0))


def test_what_was_read_outlives_it(memory: SharedMemory) -> None:
    region = memory.claim()
    back = memory.read(region, memory.write(region, upload(2.5)), Upload, release=True)
    memory.close()
    assert same_record(back, upload(2.5))


def test_every_tensor_is_where_torch_would_put_it(memory: SharedMemory) -> None:
    memory.claim()
    region = memory.claim()
    back = memory.read(region, memory.write(region, upload(1.0)), Upload)
    assert all(value.data_ptr() % 64 == 0 for value in back.change.values() if value.numel())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages are kept")
def test_what_is_large_goes_back_to_the_system(memory: SharedMemory) -> None:
    def pages() -> int:
        return os.fstat(memory._file).st_blocks

    region = memory.claim()
    size = memory.write(region, upload(1.0, size=2_000_000))
    back = memory.read(region, size, Upload, release=True)
    assert pages() * 512 > 20_000_000
    del back
    gc.collect()
    assert pages() * 512 < 1_000_000
    again = memory.claim()
    assert again == region
    size = memory.write(again, upload(2.0, size=2_000_000))
    assert same_record(memory.read(again, size, Upload), upload(2.0, size=2_000_000))
