"""Folders of small images as hospitals and repositories hold them, made for tests: none is of a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

SIDE = 24


def noise(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 120, shape or (SIDE, SIDE)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def lesion(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return an image with a bright square, and its mask."""
    pixels, mask = noise(seed), np.zeros((SIDE, SIDE), np.uint8)
    top = 2 + seed % 8
    pixels[top : top + 8, 6:16] += 120
    mask[top : top + 8, 6:16] = 255
    return pixels, mask


def masks_beside_images(root: Path, each: int = 8) -> Path:
    """Write class folders with masks beside the images, as of breast ultrasound, and litter."""
    for number, name in enumerate(("benign", "malignant", "normal")):
        for index in range(1, each + 1):
            pixels, mask = lesion(100 * number + index)
            stem = root / "Dataset_with_GT" / name / f"{name} ({index})"
            save(stem.with_name(f"{stem.name}.png"), pixels)
            save(stem.with_name(f"{stem.name}_mask.png"), mask if name != "normal" else mask * 0)
        save(root / "Dataset_with_GT" / name / f"{name} (1)_mask_1.png", np.roll(mask, 3))
    (root / "__MACOSX/Dataset_with_GT/benign").mkdir(parents=True)
    (root / "__MACOSX/Dataset_with_GT/benign/._benign (1).png").write_bytes(b"\0")
    (root / ".DS_Store").write_bytes(b"\0")
    return root


def labels_in_a_table(root: Path, count: int = 24) -> Path:
    """Write images of blood cells and a table of their labels, with semicolons and a byte order mark."""
    rows = ["image_id;cell type;patient_id"]
    for index in range(count):
        save(root / f"images/cell_{index:03d}.jpg", noise(index, SIDE, SIDE, 3))
        rows.append(f"cell_{index:03d};{('EOSINOPHIL', 'LYMPHOCYTE')[index % 2]};{index // 2}")
    (root / "labels.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    return root


def nnunet_volumes(root: Path, cases: int = 9) -> Path:
    """Write volumes in the layout of nnU-Net, with two labels."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    for case in range(cases):
        values = np.random.default_rng(case).normal(0, 10, (18, 18, 16)).astype(np.float32)
        codes = np.zeros((18, 18, 16), np.uint8)
        codes[4:12, 4:12, 3:12] = 1
        codes[6:10, 6:10, 5 : 9 + case % 3] = 2
        nibabel.save(nibabel.Nifti1Image(values + 30 * codes, affine), root / f"imagesTr/liver_{case:03d}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(codes, affine), root / f"labelsTr/liver_{case:03d}.nii.gz")
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": [1, 2], "tumour": 2}}
    (root / "dataset.json").write_text(json.dumps({**about, "file_ending": ".nii.gz"}))
    return root


def questions_in_a_table(root: Path, images: int = 12) -> Path:
    """Write images, and a table of two questions about each."""
    rows = ["image,question,answer,question_type"]
    for index in range(images):
        bright = index % 2
        save(root / f"scans/scan{index}.png", noise(index) + np.uint8(100 * bright))
        rows.append(f'scans/scan{index}.png,"Is it bright?",{("no", "yes")[bright]},presence')
        rows.append(f"scans/scan{index}.png,What organ is this?,{('liver', 'lung')[bright]},organ")
    (root / "questions.csv").write_text("\n".join(rows))
    return root


def dicom_series(root: Path, patients: int = 9, slices: int = 4) -> Path:
    """Write a series of CT for each patient, below a folder for the class, headers with names in them."""
    for patient in range(patients):
        folder = root / ("lesion", "healthy")[patient % 2] / f"series{patient}"
        folder.mkdir(parents=True)
        values = np.random.default_rng(patient).integers(0, 800, (slices, 16, 16)).astype(np.int16)
        values[:, 4:10, 4:10] += 400 * (patient % 2 == 0)
        for index in range(slices):
            write_dicom(folder / f"IM{index:04d}", values[index], patient=patient, position=2.5 * index)
    return root


def write_dicom(path: Path, values: np.ndarray[Any, Any], *, patient: int, position: float) -> None:
    """Write one slice of CT, with the name of a patient in its header."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID = f"Doe^Jane{'abcdefghijklmnopq'[patient]}", f"MRN-{patient:05d}"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.3.{patient}", f"1.2.3.{patient}.1"
    image.Modality, image.InstanceNumber = "CT", int(position)
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, position], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [1.0, 1.0], 2.5
    image.Rows, image.Columns = values.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.RescaleSlope, image.RescaleIntercept = 1, -1024
    image.PixelData = values.astype(np.uint16).tobytes()
    image.save_as(path, enforce_file_format=True)
