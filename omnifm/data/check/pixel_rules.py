"""What can be wrong with an example that could be read: one small function for each rule.

A rule of your own is one more such function in :data:`PIXEL_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np

from omnifm.data.check.finding import Finding, caution, error
from omnifm.data.manifest.manifest_images import RowImages
from omnifm.data.reading import IntensityRule
from omnifm.data.reading.dicom_patient import summarise_dicom
from omnifm.data.reading.files import is_dicom
from omnifm.data.source_images import LITTLE
from omnifm.utils.errors import DataError
from omnifm.utils.words import joined

STRETCHED = 3.0
"""An image that is so many times longer than wide is deformed a lot when it becomes a square."""

_KEY = b"\0" * 32  # no digest of a patient is kept here


@dataclass(frozen=True)
class ReadExample:
    """One example, read: ``size`` is the side of the images of the experiment, 0 where there is none."""

    place: str
    row: RowImages
    size: int

    @cached_property
    def content(self) -> str:
        """The digest of all pixels, the same for copies in other formats and under other names."""
        total = blake2b(digest_size=16)
        for image in (*self.row.images, *([self.row.pair] if self.row.pair is not None else [])):
            values = image.values[..., 0] if image.colour and image.is_grey else image.values
            total.update(f"{values.shape}{values.dtype.kind}".encode())
            total.update(np.ascontiguousarray(values).tobytes())
        return total.hexdigest()


def constant(example: ReadExample) -> Iterator[Finding]:
    """An image of one value shows nothing."""
    for image in example.row.images:
        low, high = image.values.min(), image.values.max()
        if low == high:
            what = "black" if high == 0 else f"{low} everywhere"
            yield error(example.place, f"{image.path} shows nothing: it is {what}. Replace it, or remove the row.")


def out_of_range(example: ReadExample) -> Iterator[Finding]:
    """Values are finite, and within what the file itself says is possible."""
    for image in example.row.images:
        if image.values.dtype.kind == "f" and not np.isfinite(image.values).all():
            yield error(example.place, f"{image.path} holds values that are not finite. Replace it, or remove the row.")
        elif image.value_range is not None:
            (least, most), low, high = image.value_range, image.values.min(), image.values.max()
            if low < least or high > most:
                yield caution(
                    example.place,
                    f"{image.path} holds values from {low:g} to {high:g}, but its header allows {least:g} to "
                    f"{most:g}: what lies outside is cut off. Export it again.",
                )


def little_range(example: ReadExample) -> Iterator[Finding]:
    """An image that uses a small part of its range is nearly black, or of another depth than it says."""
    for image in example.row.images:
        if image.value_range is None or image.modality:
            continue
        (least, most), low, high = IntensityRule().limits(image), image.values.min(), image.values.max()
        if low < high and (high - low) < LITTLE * (most - least):
            yield caution(
                example.place,
                f"{image.path} uses {low:g} to {high:g} only, of {least:g} to {most:g}. If its values have fewer bits, "
                "say so: intensity = { rule = 'full_range', bits = 10 }; or set intensity = 'percentile'.",
            )


def mask_empty(example: ReadExample) -> Iterator[Finding]:
    """A mask without a region may not have been drawn yet."""
    row = example.row
    drawn = row.drawn is not None or row.masks
    if drawn and not (any(mask.values.any() for mask in row.masks) if row.drawn is None else row.drawn.any()):
        yield caution(example.place, "its masks are empty. Draw them, or keep the row if there is nothing to be seen.")


def too_small(example: ReadExample) -> Iterator[Finding]:
    """An image that is enlarged shows no more than before."""
    image = example.row.images[0]
    if min(image.size[-2:]) < example.size / 2:
        sides = " x ".join(map(str, image.size))
        yield caution(
            example.place,
            f"{image.path} is {sides}, and is enlarged to data.size = {example.size}, which adds no detail. Lower "
            "data.size.",
        )


def stretched(example: ReadExample) -> Iterator[Finding]:
    """An image becomes a square, which deforms a long one."""
    image = example.row.images[0]
    height, width = image.size[-2:]
    if max(height, width) > STRETCHED * min(height, width):
        yield caution(
            example.place, f"{image.path} is {height} x {width}, and becomes a square. Cut it, or pad it to a square."
        )


def header_names(example: ReadExample) -> Iterator[Finding]:
    """A header that names the patient has no place outside the hospital."""
    for image in example.row.images:
        path = image.files[0] if image.files else image.path
        if not is_dicom(path):
            continue
        try:
            held = summarise_dicom(path, _KEY).identifying
        except DataError:
            continue
        if "PatientName" in held or "PatientBirthDate" in held:
            yield caution(
                example.place,
                f"the header of its image holds {joined(held)}. Pseudonymise it before it leaves the hospital; nothing "
                "of it is written into a run.",
            )


PixelRule = Callable[[ReadExample], Iterator[Finding]]

PIXEL_RULES: list[PixelRule] = [
    constant,
    out_of_range,
    little_range,
    mask_empty,
    too_small,
    stretched,
    header_names,
]
"""What is looked for in each example that is read, in this order."""
