"""The phantom as images, or volumes, with the regions of its lesion."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.hospitals import Layout, Person, PhantomHospitals, Row
from omnifm.data.phantom.lesions import LESION_KINDS
from omnifm.data.phantom.render import render
from omnifm.data.phantom.scanner import Scanner
from omnifm.data.phantom.tissues import LESION_CODES
from omnifm.data.regions import TUMOUR, regions_of
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import OneOf, Some, settings

REGIONS: dict[str, tuple[int, ...]] = {**TUMOUR, "lesion": tuple(code for code in LESION_CODES.values() if code)}


@settings
class PhantomRegionsSource(PhantomHospitals):
    """Synthetic heads with a tumour, and the regions of it; see ``docs/phantom.md``.

    ``regions`` are the tumour's, or ``lesion``: all of whatever ``classes`` the patients have. ``axes = 3`` makes one
    volume a patient, a cube of the scanner's field of view. Fields of the table: ``image`` ``(rows, channels, *size)``
    float32, ``mask`` ``(rows, regions, *size)`` uint8, ``spacing`` ``(rows, axes)`` float32 in mm.
    """

    classes: Some[Annotated[str, OneOf(LESION_KINDS)]] = ("glioma",)
    regions: Some[Annotated[str, OneOf(REGIONS)]] = tuple(TUMOUR)
    axes: Literal[2, 3] = 2
    kind: Literal["phantom_regions"] = "phantom_regions"

    def __post_init__(self) -> None:
        others = [name for name in self.classes if name not in ("glioma", "healthy")]
        if others and (tumour := [name for name in self.regions if name in TUMOUR]):
            raise ValueError(f"{others[0]!r} has no {tumour[0]!r}: set regions = ['lesion'], or classes = ['glioma']")
        if self.axes == 3 and self.slices > 1:
            raise ValueError(f"slices = {self.slices}: with axes = 3 a patient gives one volume")

    def load(self, loading: Loading) -> SourceTable:
        """Make the whole set, or read it from the cache."""
        fields = self.stored(loading)
        fields["image"] = fields["image"].expand(-1, loading.channels, *[-1] * self.axes)
        return SourceTable(fields, self.regions, **self.places())

    def layout(self, size: int) -> Layout:
        """Return what one row holds."""
        sides = (size,) * self.axes
        return {
            "image": ((1, *sides), torch.float32),
            "mask": ((len(self.regions), *sides), torch.uint8),
            "spacing": ((self.axes,), torch.float32),
        }

    def rows(self, anatomy: Anatomy, loading: Loading, person: Person) -> list[Row]:
        """Make the rows of one patient."""
        patient, side = self.patient(anatomy, loading, person), loading.size
        scanner = Scanner.random(person.modality, seed=loading.seed, name=person.hospital)
        view = scanner.field_of_view
        truths = (
            self.cuts(patient, side, view)
            if self.axes == 2
            else [patient.volume((side, side, side), spacing=view / side)]
        )
        return [
            {
                "image": render(truth, scanner, numpy_generator(loading.seed, "image", person.name, number))[None],
                "mask": regions_of(truth.lesion, [REGIONS[name] for name in self.regions]),
                "spacing": np.array(truth.spacing, dtype=np.float32),
            }
            for number, truth in enumerate(truths)
        ]
