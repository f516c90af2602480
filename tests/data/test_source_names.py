from __future__ import annotations

import logging

import pytest

from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.source_names import check_names, warn_of_alike
from omnifm.utils.errors import DataError


def test_folders_that_end_alike_are_told_apart_by_name() -> None:
    north, south = ImageFolderSource("north/images", "CT"), ImageFolderSource("south/images", "CT")
    with pytest.raises(DataError, match=r"'north/images' and 'south/images', would both be the institution 'images'"):
        check_names([north, south])
    with pytest.raises(DataError, match="the institution 'images'"):
        check_names([north, ImageFolderSource("other", "CT", name="images")])
    check_names([north, ImageFolderSource("south/images", "CT", name="south"), PhantomSource()])


def test_one_institution_may_have_two_folders_by_name_and_one_folder_two_sources() -> None:
    check_names([ImageFolderSource(f"{place}/images", "CT", name="one") for place in ("north", "south")])
    check_names([ImageFolderSource("set", "CT", classes=("a",)), ImageFolderSource("set/", "MR", classes=("b",))])


def test_classes_that_look_alike_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "omnifm"):
        warn_of_alike(["Benign", "benign", "malignant ", "malignant", "in_situ", "in situ", "normal"])
    assert len(caplog.records) == 1
    assert "'Benign' and 'benign', 'malignant ' and 'malignant' and 'in_situ' and 'in situ'" in caplog.text
    caplog.clear()
    warn_of_alike(["a", "b"])
    assert not caplog.text
