"""Which files become which examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import write_series

from omnifm.prediction.requests import requests_of
from omnifm.utils.errors import DataError


def made(root: Path, *names: str) -> list[Path]:
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG")
    return paths


def test_a_folder_is_its_images_without_litter_and_masks(tmp_path: Path) -> None:
    made(tmp_path, "a.png", "a_mask.png", "b/a.jpg", "b/.DS_Store", "__MACOSX/a.png", "notes.txt")
    found = requests_of([tmp_path])
    assert [(one.files, str(one.stem)) for one in found] == [
        ((tmp_path / "a.png",), "a"),
        ((tmp_path / "b/a.jpg",), "b/a"),
    ]


def test_outputs_never_share_a_name(tmp_path: Path) -> None:
    paths = made(tmp_path, "a.png", "A.jpg", "b/a.png")
    assert [str(one.stem) for one in requests_of(paths)] == ["a", "A_2", "a_3"]


def test_a_series_is_one_image_and_single_images_stay_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "volume", 3)
    (one,) = requests_of([tmp_path / "volume"])
    assert (one.files, str(one.stem)) == ((tmp_path / "volume",), "volume")
    for number in range(2):
        write_series(tmp_path / f"x{number}", 1)
        (tmp_path / f"x{number}/1.dcm").rename(tmp_path / f"x{number}.dcm")
        (tmp_path / f"x{number}").rmdir()
    (tmp_path / "rays").mkdir()
    for number in range(2):
        (tmp_path / f"x{number}.dcm").rename(tmp_path / f"rays/x{number}.dcm")
    assert [str(one.stem) for one in requests_of([tmp_path / "rays"])] == ["x0", "x1"]
    assert [str(one.stem) for one in requests_of([tmp_path])] == ["rays/x0", "rays/x1", "volume"]


def test_files_of_one_example(tmp_path: Path) -> None:
    first, second, odd = made(tmp_path, "a.png", "b.png", "c;d.png")
    (one,) = requests_of([f"{first};{second}"])
    assert one.files == (first, second)
    assert requests_of([odd])[0].files == (odd,)
    (tmp_path / "t.csv").write_text("Image;Question\na.png|b.png;\nb.png;what?\n")
    rows = requests_of([], tmp_path / "t.csv", "how?")
    assert [(row.files, row.question) for row in rows] == [((first, second), "how?"), ((second,), "what?")]


def test_what_names_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        requests_of([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        requests_of([tmp_path / "empty"])
