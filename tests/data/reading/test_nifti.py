from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from omnifm.data.reading import read_image
from omnifm.utils.errors import DataError

WORLD = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)  # by right, anterior, superior
SEEN = WORLD.transpose(2, 1, 0)[:, ::-1, ::-1]
STEPS = (1.0, 2.0, 3.0)


def stored(order: tuple[int, ...], ways: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The world with its axes in an order and direction, and the affine that says so."""
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for axis, (world, way) in enumerate(zip(order, ways, strict=True)):
        affine[world, axis] = way * STEPS[world]
        affine[world, 3] = 0 if way > 0 else (WORLD.shape[world] - 1) * STEPS[world]
    flips = tuple(slice(None, None, way) for way in ways)
    return np.ascontiguousarray(WORLD.transpose(order)[flips]), affine


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_orientation_is_seen_alike_and_leads_back_to_the_file(tmp_path: Path, order: tuple[int, ...]) -> None:
    for ways in product((1, -1), repeat=3):
        values, affine = stored(order, ways)
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "x.nii.gz")
        image = read_image(tmp_path / "x.nii.gz")
        assert np.array_equal(image.values, SEEN)
        assert image.spacing == (3.0, 2.0, 1.0)
        assert np.array_equal(image.affine, affine)
        assert np.array_equal(image.to_file_grid(image.values), values)


def test_a_single_slice_is_an_image_and_leads_back(tmp_path: Path) -> None:
    values = WORLD[:, :, :1]
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii", "refuse")
    assert np.array_equal(image.values, values[::-1, ::-1, 0].T)
    assert image.spacing == (2.0, 1.0)
    assert np.array_equal(image.to_file_grid(image.values), values)


def test_a_coronal_slice_has_the_head_on_top(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(WORLD[:, :1], np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii")
    assert np.array_equal(image.values, WORLD[::-1, 0, ::-1].T)
    assert np.array_equal(image.to_file_grid(image.values), WORLD[:, :1])


def test_colours(tmp_path: Path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    values = np.zeros((4, 5, 6), kind)
    values["G"] = 200
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii")
    assert image.colour
    assert image.size == (6, 5, 4)
    assert image.values[3, 2, 1].tolist() == [0, 200, 0]


def test_one_of_several_volumes_is_chosen_or_all_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.stack([WORLD, WORLD + 1], axis=3), np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(DataError, match=r"x\.nii: is not one volume of three axes, but 4 x 5 x 6 x 2"):
        read_image(tmp_path / "x.nii")
    assert np.array_equal(read_image(tmp_path / "x.nii", volume=1).values, SEEN + 1)
    with pytest.raises(DataError, match="has no volume 2"):
        read_image(tmp_path / "x.nii", volume=2)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    nibabel.save(image, tmp_path / "x.nii")
    values = read_image(tmp_path / "x.nii").values
    assert (values.min(), values.max()) == (-1000, -986)
    with pytest.raises(ValueError, match="its mask"):
        read_image(tmp_path / "x.nii").to_file_grid(np.zeros((3, 2, 2)))
