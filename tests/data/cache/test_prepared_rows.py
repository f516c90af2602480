from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from omnifm.data.cache import entry as entry_module
from omnifm.data.cache.prepared_rows import ItemRows, PreparedRows, prepared_once
from omnifm.data.columns import as_tensor
from omnifm.data.packed import Packed
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class Settings:
    """Of a source whose files hold one row of bytes each."""

    shift: int = 0
    name: str = ""


@dataclass
class Reader:
    """Reads them, and counts how often."""

    root: Path
    decoded: list[str] = field(default_factory=list)

    def read(self, settings: Settings | None = None, **changes: object) -> PreparedRows:
        loading = replace(Loading(self.root, 2, 1, 0, self.root.parent / "cache", cache_limit=1.0), **changes)
        paths = sorted(loading.root.glob("*.bin"))
        own = settings or Settings()

        def make(number: int) -> Iterator[ItemRows]:
            self.decoded.append(paths[number].name)
            data = np.frombuffer(paths[number].read_bytes(), dtype=np.uint8)
            if not len(data):
                raise DataError(f"{paths[number]}: is empty.")
            for value in data:  # each byte is a row
                image = torch.full((1, 1, 2, 2), float(int(value) + own.shift) / 255)
                yield ItemRows({"image": image, "mask": (image > 0.5).byte()}, "dark" if value == 0 else "")

        found = prepared_once(loading, own, [(path,) for path in paths], make)
        self.files = loading.read.files
        return found


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "data").mkdir()
    for name, data in (("a", b"\0\1"), ("b", b"\xff"), ("c", b"\5\6\7")):
        (tmp_path / f"data/{name}.bin").write_bytes(data)
    return Reader(tmp_path / "data")


def image(rows: PreparedRows) -> Tensor:
    return as_tensor(rows.fields["image"])


EXPECTED = torch.tensor([0, 1, 255, 5, 6, 7]) / 255


def test_files_are_decoded_once(reader: Reader) -> None:
    without = reader.read(cache_limit=0.0)
    assert type(without.fields["image"]) is torch.Tensor
    reader.decoded.clear()
    first, again = reader.read(), reader.read()
    assert reader.decoded == ["a.bin", "b.bin", "c.bin"]
    for rows in (without, first, again):
        assert torch.equal(image(rows)[:, 0, 0, 0], EXPECTED)
        assert torch.equal(as_tensor(rows.fields["mask"]), (image(rows) > 0.5).byte())
        assert rows.counts == (2, 1, 3)
        assert rows.notes == ((0, "dark"),)
    column = again.fields["image"]
    assert isinstance(column, Packed)
    assert column.values.dtype == np.uint8
    assert list(reader.files) == ["a.bin", "b.bin", "c.bin"]
    assert [file.size for file in reader.files.values()] == [2, 1, 3]
    assert (reader.root.parent / "cache/images").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("keep_time", [False, True])
def test_other_content_is_decoded_anew(reader: Reader, keep_time: bool) -> None:
    path = reader.root / "b.bin"
    reader.read()
    time = path.stat().st_mtime_ns
    path.write_bytes(b"\3")  # of the same size
    if keep_time:  # a file younger than two seconds is not remembered by its time
        os.utime(path, ns=(time, time))
    assert image(reader.read())[2, 0, 0, 0] == torch.tensor(3.0) / 255
    assert len(reader.decoded) == 6


def test_the_settings_and_the_form_count_but_not_the_names(reader: Reader) -> None:
    reader.read()
    reader.read(Settings(name="another"))
    assert len(reader.decoded) == 3
    assert torch.equal(image(reader.read(Settings(shift=1)))[0, 0, 0, 0], torch.tensor(1.0) / 255)
    reader.read(channels=3)
    assert len(reader.decoded) == 9


def test_data_that_were_moved_are_not_decoded_again(reader: Reader, tmp_path: Path) -> None:
    reader.read()
    shutil.copytree(reader.root, tmp_path / "elsewhere")
    assert torch.equal(image(reader.read(root=tmp_path / "elsewhere"))[:, 0, 0, 0], EXPECTED)
    assert len(reader.decoded) == 3


@pytest.mark.parametrize("suffix", ["image", "json"])
def test_a_damaged_entry_is_made_again(reader: Reader, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    reader.read()
    path = next((reader.root.parent / "cache/images").glob(f"*.{suffix}"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(image(reader.read())[:, 0, 0, 0], EXPECTED)
    assert "making it again" in caplog.text
    assert len(reader.decoded) == 6
    reader.read()
    assert len(reader.decoded) == 6


def test_a_cache_that_cannot_be_written_is_done_without(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    (reader.root.parent / "cache").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(image(reader.read())[:, 0, 0, 0], EXPECTED)
    assert "cannot be written" in caplog.text


def test_what_is_larger_than_the_cache_may_be_stays_in_memory(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert torch.equal(image(reader.read(cache_limit=40 / 1024**3))[:, 0, 0, 0], EXPECTED)  # 48 bytes are needed
    assert "more than data.cache_limit" in caplog.text
    left = list((reader.root.parent / "cache/images").iterdir())
    assert [path.suffix for path in left] == [".lock"]


def test_a_file_that_cannot_be_read_leaves_nothing_behind(reader: Reader) -> None:
    (reader.root / "b.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.bin: is empty"):
        reader.read()
    assert [path.suffix for path in (reader.root.parent / "cache/images").iterdir()] == [".lock"]


def test_an_entry_is_verified_once_a_process(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.read()
    looked: list[Path] = []
    entry_module._verified.cache_clear()
    monkeypatch.setattr(entry_module, "is_intact", lambda path, stored: looked.append(path) or True)
    reader.read()
    reader.read()
    assert len(looked) == 2  # image and mask


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_of_several_processes_one_decodes(reader: Reader, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    torch.set_num_threads(1)  # no threads to fork

    def read(number: int) -> None:
        found = reader.read()
        assert torch.equal(image(found)[:, 0, 0, 0], EXPECTED)
        (tmp_path / f"decoded-{number}").write_text(str(len(reader.decoded)))

    processes = [context.Process(target=read, args=(number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(int((tmp_path / f"decoded-{number}").read_text()) for number in range(3)) == [0, 0, 3]
