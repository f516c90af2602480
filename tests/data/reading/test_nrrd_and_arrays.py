from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from omnifm.data.reading import read_image
from omnifm.utils.errors import DataError

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # by left, posterior, superior
PLACED = {"space": "left-posterior-superior", "space directions": np.diag([1.0, 2.0, 3.0]), "space origin": [5, 6, 7]}


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_a_volume_is_turned_as_nifti_is(tmp_path: Path, encoding: str) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), VALUES, {**PLACED, "encoding": encoding})
    image = read_image(tmp_path / "x.nrrd")
    assert np.array_equal(image.values, VALUES.transpose(2, 1, 0))
    assert image.spacing == (3.0, 2.0, 1.0)
    assert image.affine is not None
    assert image.affine[:3, 3].tolist() == [-5, -6, 7]
    assert np.array_equal(image.to_file_grid(image.values), VALUES)


def test_colour_and_images_without_a_place(tmp_path: Path) -> None:
    colour = np.zeros((3, 4, 5), np.uint8)
    colour[0] = 9
    nrrd.write(str(tmp_path / "c.nrrd"), colour, {"kinds": ["RGB-color", "domain", "domain"]})
    image = read_image(tmp_path / "c.nrrd")
    assert (image.colour, image.size, image.values[0, 0].tolist()) == (True, (5, 4), [9, 0, 0])
    nrrd.write(str(tmp_path / "g.nrrd"), VALUES[0], {"spacings": [0.5, 0.25]})
    flat = read_image(tmp_path / "g.nrrd")
    assert np.array_equal(flat.values, VALUES[0].T)
    assert flat.spacing == (0.25, 0.5)


def test_data_in_another_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(60))
    lines = ["NRRD0004", "type: uint8", "dimension: 2", "sizes: 6 10", "encoding: raw", "data file: secret", "", ""]
    (tmp_path / "x.nrrd").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"x\.nrrd: its data are in another file"):
        read_image(tmp_path / "x.nrrd")


def test_no_more_is_unpacked_than_the_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), np.zeros(10_000_000, np.uint8).reshape(10, 1000, 1000), {"encoding": "gzip"})
    path = tmp_path / "x.nrrd"
    path.write_bytes(path.read_bytes().replace(b"sizes: 10 1000 1000", b"sizes: 1 10 10      "))
    seen: list[int] = []
    read = nrrd.read_data
    monkeypatch.setattr(nrrd, "read_data", lambda header, file: seen.append(len(file.getvalue())) or read(header, file))
    read_image(path)
    assert seen[0] < 5_000


@pytest.mark.parametrize(
    ("values", "size", "colour"),
    [
        (np.zeros((4, 5)), (4, 5), False),
        (np.zeros((4, 5, 3), np.uint8), (4, 5), True),
        (np.zeros((4, 5, 6), np.int16), (4, 5, 6), False),
        (np.zeros((4, 5, 6, 3), np.uint8), (4, 5, 6), True),
        (np.zeros((4, 5), bool), (4, 5), False),
    ],
)
def test_arrays(tmp_path: Path, values: Any, size: tuple[int, ...], colour: bool) -> None:
    np.save(tmp_path / "x.npy", values)
    image = read_image(tmp_path / "x.npy")
    assert (image.size, image.colour) == (size, colour)


@pytest.mark.parametrize("values", [np.zeros(5), np.array([{}]), np.zeros((2, 2), complex), np.zeros((0, 4))])
def test_arrays_that_are_no_images(tmp_path: Path, values: Any) -> None:
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy: "):
        read_image(tmp_path / "x.npy")
