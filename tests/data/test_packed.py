from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnifm.data import packed as module
from omnifm.data.images import to_unit
from omnifm.data.packed import MappedFile, Packed, narrowest, packed


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_every_value_of_a_type_comes_back_as_it_was(kind: str) -> None:
    every = to_unit(np.arange(np.iinfo(kind).max + 1, dtype=kind))
    assert narrowest(every) == kind
    assert torch.equal(Packed(packed(every, kind), unit=True).index_select(0, torch.arange(len(every))), every)


def test_what_eight_bits_hold_sixteen_hold_too() -> None:
    every = to_unit(np.arange(256, dtype=np.uint8))
    assert narrowest(every, "uint16") == "uint16"
    assert torch.equal(to_unit(packed(every, "uint16")), every)


@pytest.mark.parametrize("value", [0.3, 1.5, -1 / 255, float("nan"), float("inf"), -0.0])
def test_a_value_that_no_integer_stands_for_stays_a_float(value: float) -> None:
    assert narrowest(torch.tensor([0.0, value, 1.0])) == "float32"


def test_other_types_stay_as_they_are() -> None:
    assert narrowest(torch.tensor([1, 2])) == "int64"
    assert packed(torch.tensor([1, 2], dtype=torch.uint8), "uint8").tolist() == [1, 2]


def test_rows_of_a_mapped_file_stay_right_when_its_pages_were_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    (tmp_path / "file").write_bytes(values.tobytes())
    monkeypatch.setattr(module, "TOUCHED", 1)  # after every reading
    file = MappedFile(tmp_path / "file", "uint8", (6, 2, 2))
    column = Packed(file.values, unit=False, file=file)
    for rows in (torch.tensor([5, 0]), torch.tensor([0, 0, 3])):
        assert torch.equal(column.index_select(0, rows), torch.from_numpy(values[rows.numpy()]))
    assert column.shape == (6, 2, 2)
    with pytest.raises(ValueError, match="read-only"):
        file.values[0] = 1


def test_a_file_that_is_too_short_is_not_mapped(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    with pytest.raises(ValueError, match="buffer"):
        MappedFile(tmp_path / "file", "uint8", (2, 2))
