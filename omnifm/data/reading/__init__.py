"""Image files of every format through one door: :func:`read_image` returns a :class:`MedicalImage`."""

from omnifm.data.reading.intensity import Intensity, IntensityRule
from omnifm.data.reading.medical_image import FileGrid, MedicalImage
from omnifm.data.reading.read import Pages, read_image

__all__ = ["FileGrid", "Intensity", "IntensityRule", "MedicalImage", "Pages", "read_image"]
