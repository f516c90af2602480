"""Masks as a DICOM segmentation object (DICOM PS3.3, A.51), which viewers lay over the images that it refers to."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnifm.data.reading import MedicalImage
from omnifm.data.reading.dicom import frames_of
from omnifm.utils.atomic_write import replacing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_log = logging.getLogger("omnifm")


def write_dicom_seg(path: Path, image: MedicalImage, masks: NDArray[np.bool_], names: Sequence[str]) -> bool:
    """Write the regions of a DICOM image as segments; return whether that was possible.

    Args:
        path: the file.
        image: the image or series, as it was read.
        masks: ``(regions, *size)``, in the size of the image.
        names: of the regions.
    """
    import pydicom
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr.coding import CodedConcept
    from highdicom.uid import UID
    from pydicom.sr.codedict import codes

    sources = [pydicom.dcmread(file) for file in image.files or (image.path,)]
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=CodedConcept(f"REGION{number}", "99OMNIFM", name[:64]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=AlgorithmIdentificationSequence(
                name="OmniFM", version=version("omnifm"), family=codes.DCM.ArtificialIntelligence
            ),
        )
        for number, name in enumerate(names, start=1)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that are not quite as the standard has them
            made = Segmentation(
                source_images=sources,
                pixel_array=_frames(image, masks, sources),
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=UID(),
                series_number=1000,
                sop_instance_uid=UID(),
                instance_number=1,
                manufacturer="OmniFM",
                manufacturer_model_name="OmniFM",
                software_versions=version("omnifm"),
                device_serial_number="0",
                omit_empty_frames=bool(masks.any()),
            )
            with replacing(path) as temporary:
                made.save_as(temporary)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the header lacks what the object refers to
        _log.warning("%s: no segmentation object can refer to it (%s).", image.path, error)
        return False
    return True


def _frames(image: MedicalImage, masks: NDArray[np.bool_], sources: Sequence[Dataset]) -> NDArray[np.uint8]:
    """Return ``(frames, rows, columns, regions)`` in the order of the source images, or of the frames of the only one.

    Raises:
        ValueError: the masks are of one slice of a volume.
    """
    frames = len(sources) if len(sources) > 1 else frames_of(sources[0])
    if not image.is_volume:
        if frames > 1:
            raise ValueError("the masks are of one of its slices")
        return masks.transpose(1, 2, 0)[np.newaxis].astype(np.uint8)
    if image.affine is None:
        return masks.transpose(1, 2, 3, 0).astype(np.uint8)
    placed = np.stack([image.to_file_grid(mask) for mask in masks], axis=-1)  # (columns, rows, slices, regions)
    sorted_frames = placed.transpose(2, 1, 0, 3).astype(np.uint8)
    if len(sources) > 1:
        return sorted_frames
    stored = np.empty_like(sorted_frames)
    stored[_heights(sources[0]).argsort(kind="stable")] = sorted_frames
    return stored


def _heights(source: Dataset) -> NDArray[np.float64]:
    """Return how high each frame of a file lies along the normal of its slices, in mm."""
    frames, shared = source.PerFrameFunctionalGroupsSequence, source.SharedFunctionalGroupsSequence[0]
    first = frames[0] if "PlaneOrientationSequence" in frames[0] else shared
    directions = np.reshape(first.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(np.float64)
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    heights: NDArray[np.float64] = np.asarray(positions, np.float64) @ np.cross(*directions)
    return heights
