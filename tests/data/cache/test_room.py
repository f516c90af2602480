from __future__ import annotations

import os
from pathlib import Path

import pytest

from omnifm.data.cache.room import make_room


def entry(cache: Path, name: str, used: float, size: int = 100) -> Path:
    folder = cache / "images"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.image").write_bytes(bytes(size))
    (folder / f"{name}.json").write_bytes(b"")
    (folder / f"{name}.lock").write_bytes(b"")
    os.utime(folder / f"{name}.json", (used, used))
    return folder / f"{name}.json"


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").iterdir())


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    newest = entry(tmp_path, "a", 3000.0)
    entry(tmp_path, "b", 1000.0)
    entry(tmp_path, "c", 2000.0)
    make_room(tmp_path, 200, newest)
    assert names(tmp_path) == ["a.image", "a.json", "a.lock", "c.image", "c.json", "c.lock"]
    make_room(tmp_path, 200, newest)
    assert len(names(tmp_path)) == 6


def test_what_was_just_made_stays_however_large(tmp_path: Path) -> None:
    made = entry(tmp_path, "a", 1.0, size=1000)
    entry(tmp_path, "b", 2.0)
    make_room(tmp_path, 500, made)
    assert names(tmp_path) == ["a.image", "a.json", "a.lock"]


def test_synthetic_data_count_too(tmp_path: Path) -> None:
    kept = entry(tmp_path, "a", 3000.0)
    old = tmp_path / "phantom-old.safetensors"
    old.write_bytes(bytes(100))
    os.utime(old, (1.0, 1.0))
    other = tmp_path / "somebody-else's"
    other.write_bytes(bytes(100))
    make_room(tmp_path, 150, kept)
    assert not old.exists()
    assert other.exists()
    assert kept.exists()


@pytest.mark.parametrize("name", [".x.image.1.tmp", "x.image", "x.lock"])
def test_what_was_abandoned_goes_after_a_day(tmp_path: Path, name: str) -> None:
    kept = entry(tmp_path, "a", 3000.0)
    path = tmp_path / "images" / name
    path.write_bytes(b"")
    make_room(tmp_path, 1e9, kept)
    assert path.exists()
    os.utime(path, (1e9, 1e9))
    make_room(tmp_path, 1e9, kept)
    assert not path.exists()
