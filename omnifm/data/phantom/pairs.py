"""The phantom as registered pairs: one head, seen by two scanners of one hospital."""

from __future__ import annotations

from itertools import permutations
from typing import Annotated, Literal

import numpy as np
import torch

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.hospitals import Layout, Person, PhantomHospitals, Row
from omnifm.data.phantom.render import render
from omnifm.data.phantom.scanner import MODALITIES, Scanner
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.errors import DataError
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import OneOf, Some, settings

_PAIRS = tuple("-".join(pair) for pair in permutations(MODALITIES, 2))


@settings
class PhantomPairsSource(PhantomHospitals):
    """Pairs of synthetic images; ``modalities`` are pairs of those of the phantom, such as ``CT-T2``.

    Both images show the same truth on the same grid, that of the first scanner. Fields of the table: ``image``
    ``(rows, 2, size, size)`` float32, first and second; ``chroma``, of the same shape, is 0: the phantom is grey, PET
    and SPECT too.
    """

    kind: Literal["phantom_pairs"] = "phantom_pairs"
    modalities: Some[Annotated[str, OneOf(_PAIRS)]] = ("CT-T2", "PET-T1", "SPECT-FLAIR")

    def load(self, loading: Loading) -> SourceTable:
        """Make the whole set, or read it from the cache.

        Raises:
            DataError: colour images are requested.
        """
        if loading.channels != 1:
            raise DataError(f"data.channels = {loading.channels}: pairs are two grey images. Set data.channels = 1.")
        fields = self.stored(loading)
        fields["chroma"] = torch.zeros(1).expand_as(fields["image"])
        return SourceTable(fields, (), **self.places())

    def layout(self, size: int) -> Layout:
        """Return what one row holds."""
        return {"image": ((2, size, size), torch.float32)}

    def rows(self, anatomy: Anatomy, loading: Loading, person: Person) -> list[Row]:
        """Make the rows of one patient."""
        patient = self.patient(anatomy, loading, person)
        scanners = [
            Scanner.random(modality, seed=loading.seed, name=person.hospital) for modality in person.modality.split("-")
        ]
        return [
            {
                "image": np.stack(
                    [
                        render(
                            truth,
                            scanner,
                            numpy_generator(loading.seed, "image", person.name, number, scanner.modality),
                        )
                        for scanner in scanners
                    ]
                )
            }
            for number, truth in enumerate(self.cuts(patient, loading.size, scanners[0].field_of_view))
        ]
