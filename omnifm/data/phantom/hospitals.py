"""What every kind of phantom data has in common: hospitals with their own scanners and their own patients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from omnifm.core.tensors import digest
from omnifm.data.cache.room import GIB, make_room
from omnifm.data.phantom.anatomy import ANATOMY_VERSION, Anatomy, load_anatomy
from omnifm.data.phantom.lesions import LESION_KINDS
from omnifm.data.phantom.patient import Patient, Truth, make_patient
from omnifm.data.phantom.scanner import MODALITIES
from omnifm.data.phantom.side_by_side import each, shared_zeros
from omnifm.data.phantom.storage import cached, stated_digest
from omnifm.data.source import Loading
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import Count, OneOf, Some, settings
from omnifm.workers.pool import auto_workers

RENDER_VERSION = 3
"""To be raised with every change that alters an image: cached tables of an older version are then not used."""

Row = Mapping[str, np.ndarray]
Layout = Mapping[str, tuple[Sequence[int], torch.dtype]]
"""The shape and type of one row of each field."""


@dataclass(frozen=True)
class Person:
    """A patient to be: of which modality and hospital, the how-manieth there, and the name."""

    modality: str
    hospital: str
    index: int
    name: str


@settings
class PhantomHospitals:
    """The settings of phantom data, and how a set of rows is made, by all cores, and kept in the cache.

    A kind of data adds its ``kind``, its :meth:`layout` and its :meth:`rows`.

    Attributes:
        modalities: the modalities, of each of which there are hospitals.
        classes: the diseases of the patients, each as frequent as the others; ``healthy`` is one.
        patients: how many patients each hospital has.
        hospitals: how many hospitals each modality has ("T1-1", "T1-2", ...), each with a scanner and patients of its
            own.
        slices: how many images each patient gives.
    """

    modalities: Some[Annotated[str, OneOf(MODALITIES)]] = ("T1", "T2", "FLAIR", "CT", "PET")
    classes: Some[Annotated[str, OneOf(LESION_KINDS)]] = ("healthy", "glioma", "infarct", "haemorrhage", "ms")
    patients: Count = 400
    hospitals: Count = 1
    slices: Count = 1

    def layout(self, size: int) -> Layout:
        """Return what one row holds, for images of this side."""
        raise NotImplementedError

    def rows(self, anatomy: Anatomy, loading: Loading, person: Person) -> list[Row]:
        """Make the ``slices`` rows of one patient, who depends on the seed, the hospital and the index alone."""
        raise NotImplementedError

    def persons(self) -> list[Person]:
        """Return all patients, hospital by hospital."""
        hospitals = [(m, f"{m}-{number + 1}") for m in self.modalities for number in range(self.hospitals)]
        return [
            Person(modality, hospital, index, f"{hospital}/p{index:04d}")
            for modality, hospital in hospitals
            for index in range(self.patients)
        ]

    def places(self) -> dict[str, tuple[str, ...]]:
        """Return the patient, modality and institution of each row, named as in a table."""
        of_rows = [person for person in self.persons() for _ in range(self.slices)]
        return {
            "patients": tuple(person.name for person in of_rows),
            "modalities": tuple(person.modality for person in of_rows),
            "institutions": tuple(person.hospital for person in of_rows),
        }

    def stored(self, loading: Loading, **more: Any) -> dict[str, Tensor]:
        """Make all rows, or read them from the cache. ``more`` is what they depend on besides the settings."""
        settings = {**asdict(self), "size": loading.size, "seed": loading.seed, **more}
        settings |= {"version": [RENDER_VERSION, ANATOMY_VERSION]}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]
        path = loading.cache / f"phantom-{key}.safetensors"
        fields = cached(path, frozenset(self.layout(loading.size)), lambda: self.make(loading))
        written = path.is_file()
        loading.read.add(path.name, len(self.persons()), (written and stated_digest(path)) or digest(fields))
        if written and loading.cache_limit:
            make_room(loading.cache, loading.cache_limit * GIB, path)
        return fields

    def make(self, loading: Loading) -> dict[str, Tensor]:
        """Make all rows, by all cores: no patient depends on another, so that their number changes no bit."""
        anatomy, persons = load_anatomy(loading.cache), self.persons()
        count = len(persons) * self.slices
        layout = self.layout(loading.size)
        fields = {name: shared_zeros((count, *shape), kind) for name, (shape, kind) in layout.items()}

        def make(number: int) -> None:
            for row, values in enumerate(self.rows(anatomy, loading, persons[number]), number * self.slices):
                for name, value in values.items():
                    fields[name][row] = torch.from_numpy(value)

        each(make, len(persons), auto_workers())
        return fields

    def patient(self, anatomy: Anatomy, loading: Loading, person: Person) -> Patient:
        """Make a patient, of the class that :meth:`label` returns."""
        kind = self.classes[self.label(loading.seed, person)]
        return make_patient(anatomy, kind, seed=loading.seed, name=person.name)

    def label(self, seed: int, person: Person) -> int:
        """Return the patient's class: each run of as many patients as classes holds every class once."""
        block, place = divmod(person.index, len(self.classes))
        return int(numpy_generator(seed, "classes", person.hospital, block).permutation(len(self.classes))[place])

    def cuts(self, patient: Patient, size: int, field_of_view: float) -> Iterator[Truth]:
        """Yield the slices of a patient: the first at the patient's level, the others 4 mm apart to both sides."""
        for number in range(self.slices):
            height = patient.level + 4.0 * ((number + 1) // 2) * (-1 if number % 2 else 1)
            yield patient.slice(size, field_of_view=field_of_view, level=height)
