"""The phantom as a data set of the experiment: hospitals with their own scanners and their own patients."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omnifm.data.examples import Pool
from omnifm.data.phantom.anatomy import ANATOMY_VERSION, Anatomy, load_anatomy
from omnifm.data.phantom.lesions import KINDS
from omnifm.data.phantom.patient import make_patient
from omnifm.data.phantom.render import render
from omnifm.data.phantom.scanner import MODALITIES, Scanner
from omnifm.data.phantom.side_by_side import each, shared_zeros
from omnifm.data.phantom.storage import cached
from omnifm.data.source import Loading
from omnifm.errors import did_you_mean
from omnifm.randomness import numpy_generator
from omnifm.workers.crew import auto_workers

RENDER_VERSION = 3
"""To be raised with every change that alters an image: stored pools of an older version are then not used."""


@dataclass(frozen=True)
class PhantomSource:
    """Synthetic heads; see ``docs/phantom.md``.

    Every modality has ``hospitals`` institutions ("T1-1", "T1-2", ...), each with a scanner and ``patients``
    patients of its own, evenly of all ``classes``. Every patient gives ``slices`` images. Fields of the pool:
    ``image`` ``(rows, channels, size, size)`` float32, ``label`` ``(rows,)`` int64 into ``classes``,
    ``tissue`` and ``lesion`` ``(rows, size, size)`` uint8, coded as ``TISSUE_CODES`` and ``LESION_CODES``.

    Raises:
        ValueError: a setting that is unknown or makes no sense.

    """

    kind: Literal["phantom"] = "phantom"
    modalities: tuple[str, ...] = ("T1", "T2", "FLAIR", "CT", "PET")
    classes: tuple[str, ...] = ("healthy", "glioma", "infarct", "haemorrhage", "ms")
    patients: int = 400
    hospitals: int = 1
    slices: int = 1

    def __post_init__(self) -> None:
        _check("modalities", self.modalities, tuple(MODALITIES))
        _check("classes", self.classes, tuple(KINDS))
        for name in ("patients", "hospitals", "slices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")

    def load(self, loading: Loading) -> Pool:
        """Make the whole set, or read it from the cache."""
        settings = {**asdict(self), "size": loading.size, "seed": loading.seed}
        settings |= {"version": [RENDER_VERSION, ANATOMY_VERSION]}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]
        path = loading.cache / f"phantom-{key}.safetensors"
        fields = dict(cached(path, frozenset({"image", "label", "tissue", "lesion"}), lambda: self._make(loading)))
        fields["image"] = fields["image"].expand(-1, loading.channels, -1, -1)
        places = [
            (modality, hospital, f"{hospital}/p{index:04d}")
            for modality, hospital in self._hospitals()
            for index in range(self.patients)
            for _ in range(self.slices)
        ]
        modalities, institutions, patients = zip(*places, strict=True)
        return Pool(fields, self.classes, patients, modalities, institutions)

    def _hospitals(self) -> list[tuple[str, str]]:
        return [(m, f"{m}-{number + 1}") for m in self.modalities for number in range(self.hospitals)]

    def _make(self, loading: Loading) -> dict[str, Tensor]:
        """Make the whole set, by all cores: no patient depends on another, so that their number changes no bit."""
        anatomy = load_anatomy(loading.cache)
        patients = [(*hospital, index) for hospital in self._hospitals() for index in range(self.patients)]
        rows, square = len(patients) * self.slices, (loading.size, loading.size)
        fields = {
            "image": shared_zeros((rows, 1, *square), torch.float32),
            "label": shared_zeros((rows,), torch.int64),
            "tissue": shared_zeros((rows, *square), torch.uint8),
            "lesion": shared_zeros((rows, *square), torch.uint8),
        }

        def make(number: int) -> None:
            for row, values in enumerate(self._patient(anatomy, loading, *patients[number]), number * self.slices):
                for name, value in values.items():
                    fields[name][row] = torch.from_numpy(value)

        each(make, len(patients), auto_workers())
        return fields

    def _patient(
        self, anatomy: Anatomy, loading: Loading, modality: str, hospital: str, index: int
    ) -> list[dict[str, np.ndarray]]:
        """Return the rows of one patient, who depends on the seed, the hospital and the index alone."""
        seed, name = loading.seed, f"{hospital}/p{index:04d}"
        label = self._label(seed, hospital, index)
        patient = make_patient(anatomy, self.classes[label], seed=seed, name=name)
        scanner = Scanner.random(modality, seed=seed, name=hospital)
        rows = []
        for number in range(self.slices):
            # 4 mm apart, to both sides of the patient's level; the label is the patient's, whatever shows
            height = patient.level + 4.0 * ((number + 1) // 2) * (-1 if number % 2 else 1)
            truth = patient.slice(loading.size, field_of_view=scanner.field_of_view, level=height)
            image = render(truth, scanner, numpy_generator(seed, "image", name, number))
            truths = {"tissue": truth.tissue, "lesion": truth.lesion}
            rows.append({"image": image[None], "label": np.array(label), **truths})
        return rows

    def _label(self, seed: int, hospital: str, index: int) -> int:
        """Return the patient's class: each run of as many patients as classes holds every class once."""
        block, place = divmod(index, len(self.classes))
        return int(numpy_generator(seed, "classes", hospital, block).permutation(len(self.classes))[place])


def _check(field: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not names:
        raise ValueError(f"{field} must name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{field}: unknown name {name!r}. {did_you_mean(name, known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: a name stands twice in {', '.join(names)}")
