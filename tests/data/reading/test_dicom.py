from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from omnifm.data.reading import read_image
from omnifm.data.reading.dicom import read_header, stored_range
from omnifm.data.reading.dicom_patient import summarise_dicom
from omnifm.data.reading.files import by_series, is_image
from omnifm.utils.errors import DataError

AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]
SERIES = generate_uid()


def write(path: Path, values: Any, **header: Any) -> Path:
    """A DICOM file of 12 of 16 bits, of one frame or several."""
    values = np.asarray(values)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID, file.Modality, file.SeriesInstanceUID = "Doe^Jane", "4711", "CT", SERIES
    file.Rows, file.Columns = values.shape[-2:]
    if values.ndim == 3:
        file.NumberOfFrames = len(values)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.astype("<i2" if values.dtype.kind == "i" else "<u2").tobytes()
    for name, value in header.items():
        setattr(file, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, heights: list[float], directions: list[int] = AXIAL, **header: Any) -> Path:
    """Slices whose pixels say how high they lie, under names in the order of the list."""
    normal = np.cross(directions[:3], directions[3:])
    for number, height in enumerate(heights):
        place = {"ImagePositionPatient": list(normal * height), "ImageOrientationPatient": directions}
        values = np.full((4, 5), int(height), np.uint16)
        write(folder / f"{number:03}.dcm", values, PixelSpacing=[0.5, 0.25], **place, **header)
    return folder


def test_rescaled_values_range_and_window(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint16).reshape(4, 5)
    header = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": [40, 50], "WindowWidth": [400, 1]}
    image = read_image(write(tmp_path / "IM0001", values, PixelSpacing=[0.5, 0.25], **header))
    assert np.array_equal(image.values, values * 2 - 1000.0)
    assert (image.value_range, image.window, image.modality) == ((-1000, 7190), (40, 400), "CT")
    assert (image.spacing, image.affine) == ((0.5, 0.25), None)
    broken = read_image(write(tmp_path / "x.dcm", values, RescaleSlope=0.5, RescaleIntercept=0))
    assert broken.values.dtype == np.float32
    assert broken.values[0, 1] == 0.5


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    values = np.uint16([[0, 4095], [100, 95]])
    image = read_image(write(tmp_path / "x.dcm", values, PhotometricInterpretation="MONOCHROME1", Modality="DX"))
    assert image.values.tolist() == [[4095, 0], [3995, 4000]]
    assert image.values.dtype == np.uint16


def test_more_bits_than_stated(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "x.dcm", np.uint16([[0, 5000]])))
    assert stored_range(np.uint16([[0, 4000]]), header) == (0, 4095)
    assert stored_range(np.uint16([[0, 5000]]), header) == (0, 65535)


@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL])
def test_a_series_is_sorted_by_position_and_leads_back_to_its_files(tmp_path: Path, directions: list[int]) -> None:
    image = read_image(series(tmp_path / "s", [12, 3, 6, 9], directions))
    assert sorted(image.size) == [4, 4, 5]
    assert image.affine is not None
    stored = image.to_file_grid(image.values)
    assert stored[0, 0].tolist() == [3, 6, 9, 12]
    assert [path.name for path in image.files] == ["001.dcm", "002.dcm", "003.dcm", "000.dcm"]
    first = image.affine @ [0, 0, 0, 1]
    last = image.affine @ [0, 0, 3, 1]
    assert np.linalg.norm(last - first) == pytest.approx(9)
    if directions == AXIAL:
        assert image.values[:, 0, 0].tolist() == [3, 6, 9, 12]
        assert image.spacing == (3, 0.5, 0.25)
        assert first.tolist() == [0, 0, 3, 1]


def test_series_and_nifti_of_one_head_are_seen_alike(tmp_path: Path) -> None:
    """The slices of a sagittal series come out as the axial slices that NIfTI gives."""
    import nibabel

    image = read_image(series(tmp_path / "s", [3, 6, 9, 12], SAGITTAL))
    nibabel.save(nibabel.Nifti1Image(image.to_file_grid(image.values), image.affine), tmp_path / "x.nii")
    assert np.array_equal(read_image(tmp_path / "x.nii").values, image.values)


@pytest.mark.parametrize(
    ("heights", "said"),
    [
        ([3, 6, 12, 15], "some are missing: there is a gap of 6 mm"),
        ([3, 3, 6, 6], "several of its 4 images are at one"),
    ],
)
def test_a_series_with_a_gap_or_two_volumes_is_refused(tmp_path: Path, heights: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_image(series(tmp_path / "s", heights))


def test_two_series_in_a_folder_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "s", [3, 6])
    write(tmp_path / "s/z.dcm", np.zeros((4, 5), np.uint16), SeriesInstanceUID=generate_uid())
    with pytest.raises(DataError, match="s: holds 2 series of DICOM images"):
        read_image(tmp_path / "s")
    with pytest.raises(DataError, match="is a folder without DICOM"):
        read_image(tmp_path)


def test_frames_in_one_file(tmp_path: Path) -> None:
    values = np.arange(3, dtype=np.uint16).repeat(20).reshape(3, 4, 5)
    cine = read_image(write(tmp_path / "cine.dcm", values))
    assert cine.values[:, 0, 0].tolist() == [0, 1, 2]
    assert cine.affine is None
    frames = []
    for height in (9, 3, 6):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, height]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [1, 1], AXIAL
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    groups = {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [shared]}
    placed = read_image(write(tmp_path / "placed.dcm", values, **groups))
    assert placed.values[:, 0, 0].tolist() == [1, 2, 0]
    assert placed.spacing == (3, 1, 1)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_compressed_files_hold_what_the_plain_one_does(name: str) -> None:
    plain = read_image(Path(str(get_testdata_file("MR_small.dcm"))))
    assert np.array_equal(read_image(Path(str(get_testdata_file(name)))).values, plain.values)
    assert plain.modality == "MR"


def test_colours_and_palettes() -> None:
    for name in ("examples_palette.dcm", "SC_rgb_rle.dcm", "SC_ybr_full_422_uncompressed.dcm"):
        image = read_image(Path(str(get_testdata_file(name))))
        assert image.colour
        assert image.values.shape[-1] == 3


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders.base import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(DataError, match=r"is compressed as JPEG-LS Lossless .*pip install 'omnifm\[dicom\]'"):
        read_image(Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))))


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "MR_truncated.dcm"])
def test_reports_and_damaged_files_are_told(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}: (is DICOM without an image|cannot be read as DICOM)"):
        read_image(Path(str(get_testdata_file(name))))


def test_nothing_of_the_patient_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x.dcm", np.zeros((4, 5), np.uint16), PatientName="Doe^Jane")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Doe^Jane", b"Doe^\xff\xfe\x00\x01").replace(b"4711", b"47\xff1")[:-20])
    with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as caught:
        read_image(path)
    assert "Doe" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    assert "Doe" not in repr(read_image(write(tmp_path / "y.dcm", np.zeros((4, 5), np.uint16))))


def test_a_patient_is_known_by_a_keyed_digest(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm", np.zeros((4, 5), np.uint16))
    second = write(tmp_path / "b.dcm", np.ones((4, 5), np.uint16), PatientID="4712")
    one, other = summarise_dicom(first, b"key"), summarise_dicom(second, b"key")
    assert one.patient != other.patient
    assert one.series == other.series
    assert one.patient == summarise_dicom(first, b"key").patient != summarise_dicom(first, b"another").patient
    assert "4711" not in repr(one)
    assert one.identifying == ("PatientName", "PatientID")
    write(tmp_path / "c.dcm", np.zeros((4, 5), np.uint16), PatientName="", PatientID="")
    assert summarise_dicom(tmp_path / "c.dcm", b"key")[1::3] == ("", ())


def test_which_files_are_dicom(tmp_path: Path) -> None:
    series(tmp_path / "s", [3, 6])
    lone = write(tmp_path / "t/1.2.840.5", np.zeros((4, 5), np.uint16))
    (tmp_path / "t/notes").write_text("no image")
    assert is_image(lone)
    assert not is_image(tmp_path / "t/notes")
    assert by_series([*(tmp_path / "s").iterdir(), lone]) == [tmp_path / "s", lone]
