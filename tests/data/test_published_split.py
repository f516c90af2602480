from __future__ import annotations

from pathlib import Path

import pytest

from omnifm.data.partition import PartitionSettings, partition_rows
from omnifm.data.patient_rows import Rows
from omnifm.data.published_split import published_split, split_folders
from omnifm.utils.errors import DataError

SET = Path("set")


def test_names_of_splits() -> None:
    assert split_folders(["a", "Train", "VALID", "testing"]) == ["Train", "VALID", "testing"]
    assert split_folders(["control", "test"]) == []
    paths = [SET / "a/train/x/1.png", SET / "a/val/1.png", SET / "dev/1.png", SET / "b/Testing/1.png"]
    assert published_split(paths, SET) == ("train", "validation", "validation", "test")
    assert published_split(paths[:1], SET) is None
    assert published_split([SET / "test/1.png", SET / "control/1.png"], SET) is None


def test_what_is_half_published_is_refused() -> None:
    with pytest.raises(DataError, match=r"set/c/1\.png: lies in no folder of a split"):
        published_split([SET / "train/1.png", SET / "test/1.png", SET / "c/1.png"], SET)
    with pytest.raises(DataError, match=r"lies in the folders of two splits \(test and train\)"):
        published_split([SET / "train/test/1.png"], SET)


def test_validation_that_is_not_published_is_taken_from_training() -> None:
    """Ten patients of two rows each for training, and two for test, as many sets are published."""
    patients = tuple(f"p{row // 2}" for row in range(24))
    rows = Rows(patients, ("CT",) * 24, ("h",) * 24, ("train",) * 20 + ("test",) * 4, (0, 0, 1, 1) * 6)
    (share,) = partition_rows(rows, PartitionSettings(), seed=0)
    assert share.test == (20, 21, 22, 23)
    assert len(share.validation) == 4
    assert len(share.train) == 16
    assert not {patients[row] for row in share.train} & {patients[row] for row in share.validation}
    assert {rows.classes[row] for row in share.validation} == {0, 1}
