from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from omnifm.data.cache import file_digests
from omnifm.data.cache.file_digests import DigestStore, sha256_of, state_of
from omnifm.utils.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Meier, Anna.png"
    path.write_bytes(b"content")
    os.utime(path, (1e9, 1e9))
    return path


def known(store: DigestStore, path: Path) -> str:
    return store.known([path], [state_of(path)])[0]


def remember(store: DigestStore, path: Path) -> None:
    store.remember([path], [state_of(path)], [sha256_of(path)])


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, file: Path) -> None:
    store = DigestStore(tmp_path / "cache/digests.sqlite")
    assert known(store, file) == ""
    remember(store, file)
    assert known(DigestStore(tmp_path / "cache/digests.sqlite"), file) == hashlib.sha256(b"content").hexdigest()
    os.utime(file, (1e9, 1e9 + 1))
    assert known(store, file) == ""
    file.write_bytes(b"longer content")
    os.utime(file, (1e9, 1e9))
    assert known(store, file) == ""
    assert b"Meier" not in (tmp_path / "cache/digests.sqlite").read_bytes()


def test_a_file_that_may_change_again_at_the_same_time_is_not_remembered(tmp_path: Path, file: Path) -> None:
    store = DigestStore(tmp_path / "digests.sqlite")
    os.utime(file)  # now
    remember(store, file)
    assert known(store, file) == ""


def test_a_damaged_or_forbidden_store_costs_only_memory(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digests.sqlite").write_bytes(b"no database" * 100)
    store = DigestStore(tmp_path / "digests.sqlite")
    with caplog.at_level(logging.WARNING):
        assert known(store, file) == ""
    assert "digests.sqlite is damaged" in caplog.text
    remember(store, file)
    assert known(store, file)
    forbidden = DigestStore(file / "cannot be below a file")
    remember(forbidden, file)
    assert known(forbidden, file) == ""


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is no file"):
        sha256_of(tmp_path / "pipe")
    assert sha256_of(tmp_path / "nothing") == ""
    assert state_of(tmp_path / "nothing").size == -1
    assert file_digests.state_of(tmp_path).size >= 0
