"""From an image as it was read to what a network takes: in training, and in prediction alike."""

from __future__ import annotations

import torch
from torch import Tensor

from omnifm.data.images import resize, to_channels
from omnifm.data.reading.intensity import IntensityRule
from omnifm.data.reading.medical_image import MedicalImage
from omnifm.data.volumes import shrunk_volume


def prepared_image(image: MedicalImage, rule: IntensityRule, modality: str, size: int, channels: int) -> Tensor:
    """Return an image as ``(channels, size, size)``, a volume as ``(channels, size, size, size)``, float32 in [0, 1].

    Args:
        image: as it was read.
        rule: which numbers become 0 and 1.
        modality: as the settings of its source say.
        size: a side of what a network takes, in pixels; the aspect ratio is not kept.
        channels: 1 (grey) or 3 (colour).
    """
    planes = to_channels(unit_planes(image, rule, modality)[None], channels)
    return (shrunk_volume(planes, size) if image.is_volume else resize(planes, size)).clamp(0, 1)[0]


def unit_planes(image: MedicalImage, rule: IntensityRule, modality: str) -> Tensor:
    """Return an image in its own size, ``(1 or 3, *size)`` float32 in [0, 1]."""
    unit = torch.from_numpy(rule.apply(image, modality))
    return unit.movedim(-1, 0) if image.colour else unit[None]
