"""Masks as files that viewers lay over their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import write_series
from PIL import Image

from omnifm.data.reading import read_image
from omnifm.data.writing.mask_files import write_masks

REGIONS = ("outer", "inner")


def overlapping(size: tuple[int, ...]) -> np.ndarray:
    """Return an outer region and one inside it, neither of them symmetrical."""
    masks = np.zeros((2, *size), bool)
    masks[0][tuple(slice(1, side - 2) for side in size)] = True
    masks[1][tuple(slice(1, side // 2) for side in size)] = True
    return masks


def test_regions_of_a_picture(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((10, 14), np.uint8)).save(tmp_path / "a.png")
    masks = overlapping((10, 14))
    files = write_masks(tmp_path / "m", read_image(tmp_path / "a.png"), masks, REGIONS)
    assert [file.name for file in files] == ["m.png", "m_outer.png", "m_inner.png"]
    with Image.open(files[0]) as codes, Image.open(files[2]) as inner:
        assert (np.asarray(codes) == masks[0] + 1 * masks[1]).all()
        assert (np.asarray(inner) == 255 * masks[1]).all()
    apart = np.stack([masks[0] & ~masks[1], masks[1]])
    assert len(write_masks(tmp_path / "n", read_image(tmp_path / "a.png"), apart, REGIONS)) == 1


def test_regions_of_a_volume_lie_on_its_grid(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -2.0, 30], [1.5, 0, 0, -12], [0, -1.0, 0, 9], [0, 0, 0, 1]])
    values = np.arange(12 * 20 * 10).reshape(12, 20, 10).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    image = read_image(tmp_path / "v.nii.gz")
    bright = image.values > 1000
    (file,) = write_masks(tmp_path / "m", image, bright[None], ("bright",))
    mask: Any = nibabel.load(file)
    assert np.allclose(mask.affine, affine)
    assert (np.asarray(mask.dataobj) == (values > 1000)).all()
    before = file.read_bytes()
    write_masks(tmp_path / "m", image, bright[None], ("bright",))
    assert file.read_bytes() == before


def test_a_segmentation_object_refers_to_its_series(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series")
    image = read_image(tmp_path / "series")
    masks = overlapping(image.size)
    files = write_masks(tmp_path / "m", image, masks, REGIONS)
    assert [file.name for file in files] == ["m.nii.gz", "m_outer.nii.gz", "m_inner.nii.gz", "m.dcm"]
    found = highdicom.seg.segread(files[-1])
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == list(REGIONS)
    uids = [uid for _, _, uid in found.get_source_image_uids()]
    assert len(uids) == 4
    import pydicom

    heights = {
        pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path).ImagePositionPatient[2] for path in image.files
    }
    ordered = sorted(uids, key=lambda uid: heights[uid])
    read = found.get_pixels_by_source_instance(
        ordered, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert (read.transpose(3, 0, 1, 2) == masks).all()


def test_of_a_single_dicom_image_too(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series", 1)
    image = read_image(tmp_path / "series/1.dcm")
    masks = overlapping(image.size)
    files = write_masks(tmp_path / "m", image, masks, REGIONS)
    found = highdicom.seg.segread(files[-1])
    assert found.get_total_pixel_matrix().any() if found.is_tiled else found.pixel_array.any()
