"""The phantom as images with a class: what the patient has."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.hospitals import Layout, Person, PhantomHospitals, Row
from omnifm.data.phantom.render import render
from omnifm.data.phantom.scanner import Scanner
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import settings


@settings
class PhantomSource(PhantomHospitals):
    """Synthetic heads; see ``docs/phantom.md``.

    Fields of the table: ``image`` ``(rows, channels, size, size)`` float32, ``label`` ``(rows,)`` int64 into
    ``classes``, ``tissue`` and ``lesion`` ``(rows, size, size)`` uint8, coded as ``TISSUE_CODES`` and ``LESION_CODES``.
    The label is the patient's, whatever a slice shows.
    """

    kind: Literal["phantom"] = "phantom"

    def load(self, loading: Loading) -> SourceTable:
        """Make the whole set, or read it from the cache."""
        fields = self.stored(loading)
        fields["image"] = fields["image"].expand(-1, loading.channels, -1, -1)
        return SourceTable(fields, self.classes, **self.places())

    def layout(self, size: int) -> Layout:
        """Return what one row holds."""
        square = (size, size)
        return {
            "image": ((1, *square), torch.float32),
            "label": ((), torch.int64),
            "tissue": (square, torch.uint8),
            "lesion": (square, torch.uint8),
        }

    def rows(self, anatomy: Anatomy, loading: Loading, person: Person) -> list[Row]:
        """Make the rows of one patient."""
        patient = self.patient(anatomy, loading, person)
        scanner = Scanner.random(person.modality, seed=loading.seed, name=person.hospital)
        label = np.array(self.label(loading.seed, person))
        return [
            {
                "image": render(truth, scanner, numpy_generator(loading.seed, "image", person.name, number))[None],
                "label": label,
                "tissue": truth.tissue,
                "lesion": truth.lesion,
            }
            for number, truth in enumerate(self.cuts(patient, loading.size, scanner.field_of_view))
        ]
