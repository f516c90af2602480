from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnifm.data.cache import field_writer
from omnifm.data.cache.field_writer import FieldWriter, is_intact


def test_rows_are_kept_in_the_narrowest_type_that_holds_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_writer, "BLOCK", 8)  # rows and blocks do not end together
    rows = ([0.0, 1.0, 51 / 255], [1 / 65535, 0.0, 1.0], [0.3, 0.2, 0.1])
    parts = [torch.tensor([row]) for row in rows]
    kinds = []
    with FieldWriter(tmp_path / "field") as writer:
        for part in parts:
            writer.add(part)
            stored = writer.finished()
            kinds.append((stored.kind, stored.unit))
            whole = torch.cat(parts[: len(kinds)])
            assert torch.equal(stored.opened(tmp_path / "field").index_select(0, torch.arange(len(kinds))), whole)
            assert is_intact(tmp_path / "field", stored)
    assert kinds == [("uint8", True), ("uint16", True), ("float32", False)]
    assert stored.size == 36 == (tmp_path / "field").stat().st_size


def test_damage_anywhere_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_writer, "BLOCK", 8)
    with FieldWriter(tmp_path / "field") as writer:
        writer.add(torch.arange(5))
        stored = writer.finished()
    whole = (tmp_path / "field").read_bytes()
    assert is_intact(tmp_path / "field", stored)
    for damaged in (whole[:-1], whole + b"0", whole[:11] + b"9" + whole[12:], whole[:-1] + b"9"):
        (tmp_path / "field").write_bytes(damaged)
        assert not is_intact(tmp_path / "field", stored)


def test_rows_of_another_shape_or_type_are_refused(tmp_path: Path) -> None:
    with FieldWriter(tmp_path / "field") as writer:
        writer.add(torch.zeros(1, 2))
        for other in (torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.uint8)):
            with pytest.raises(TypeError, match=r"after torch\.float32"):
                writer.add(other)
