"""DICOM that tests make: complete enough for objects that refer to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_series(folder: Path, slices: int = 4) -> None:
    """Write the slices of a CT volume, numbered against their order in the patient."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    study, series, frame = (generate_uid() for _ in range(3))
    for number in range(slices):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.Modality, one.PatientID, one.PatientName = "CT", "p1", "Nobody"
        one.PatientBirthDate = one.PatientSex = one.StudyDate = one.StudyTime = one.AccessionNumber = ""
        one.StudyID, one.ReferringPhysicianName, one.SeriesNumber, one.InstanceNumber = "1", "", 1, slices - number
        one.PositionReferenceIndicator = ""
        one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = 8, 6, [2.0, 1.0], 3.0
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-3.0, -8.0, 3.0 * number]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = (np.arange(48, dtype=np.uint16).reshape(8, 6) + 100 * number).tobytes()
        one["PixelData"].VR = "OW"
        one.save_as(folder / f"{slices - number}.dcm", enforce_file_format=True)
