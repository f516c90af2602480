"""A folder of images, one subfolder a class, as many sets are published (e.g. MedNIST)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.published_split import published_split, split_folders
from omnifm.data.reading.files import IMAGES, by_series, images_among, subfolders, warn_of_others, without_masks
from omnifm.data.reading.intensity import Intensity
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages, SourcePages, prepared_images
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.settings import CountOrZero, Distinct, Text, settings


@settings
class ImageFolderSource:
    """Images at ``<root>/<folder>/<class>/**``, of one modality, of any format.

    ``classes`` names the subfolders to read, in this order (empty: all, sorted). They are the names of the
    labels, so that hospitals with folders of the same name share the class. ``name`` is the institution's;
    empty, it is the folder's. ``limit`` takes at most that many images of each class, evenly spaced over the
    sorted paths (0: all). ``patient_pattern`` is a regular expression whose one group, found in the path
    below the folder (with ``/``), is the patient; empty, each image is its own patient. ``intensity`` says how
    their numbers become intensities (without it ``data.intensity`` does); ``pages`` what is read of images with
    several pages or slices.

    Folders ``train``, ``val`` (or ``valid``, ``validation``) and ``test`` above or below the classes are the
    published split; without them none is published.
    """

    folder: str
    modality: Text
    kind: Literal["image_folder"] = "image_folder"
    classes: Distinct[str] = ()
    name: str = ""
    limit: CountOrZero = 0
    patient_pattern: PatientPattern = ""
    intensity: Intensity | None = None
    pages: SourcePages = "refuse"

    def load(self, loading: Loading) -> SourceTable:
        """Read the images of every class."""
        folder = loading.root / self.folder
        tops = _tops(folder)
        classes = self._classes(folder, tops)
        institution = self.name or folder.name
        reader = SourceImages(loading, self.modality, self.intensity, self.pages)
        paths, labels = self._paths(folder, tops, classes)
        split = published_split(paths, folder)
        prepared = prepared_images(loading, self, paths, [reader] * len(paths))
        rows = prepared.repeated(range(len(paths)))
        patients = [f"{institution}/{patient_of(path, folder, self.patient_pattern)}" for path in paths]
        return SourceTable(
            fields={**prepared.fields, "label": torch.tensor([labels[index] for index in rows])},
            label_names=classes,
            patients=tuple(patients[index] for index in rows),
            modalities=(self.modality,) * len(rows),
            institutions=(institution,) * len(rows),
            split=None if split is None else tuple(split[index] for index in rows),
        )

    def _classes(self, folder: Path, tops: list[Path]) -> tuple[str, ...]:
        found = sorted({name for top in tops for name in subfolders(top)})
        if not found:
            raise DataError(f"{folder}: has no subfolders. Put the images there as <class>/<image>.")
        for name in self.classes:
            if name not in found:
                raise DataError(f"{folder}: has no class {name!r}. {did_you_mean(name, found)}")
        return self.classes or tuple(found)

    def _paths(self, folder: Path, tops: list[Path], classes: tuple[str, ...]) -> tuple[list[Path], list[int]]:
        """Return the images of every class, and the place of the class of each."""
        chosen: list[Path] = []
        labels: list[int] = []
        left: list[Path] = []
        drawn: list[Path] = []
        for label, name in enumerate(classes):
            paths, others = images_among((path for top in tops for path in (top / name).rglob("*")), folder)
            paths, masks = without_masks(paths)
            if not paths:
                raise DataError(
                    f"{folder / name}: holds no image ({IMAGES}). Put the images of class {name!r} there, or leave it "
                    "out by naming the others in classes."
                )
            paths = paths if self.pages == "refuse" else by_series(paths)
            mine = [paths[index] for index in evenly_spaced(len(paths), self.limit)]
            chosen, left, drawn = chosen + mine, left + others, drawn + masks
            labels += [label] * len(mine)
        warn_of_others(folder, left, drawn)
        return chosen, labels


def _tops(folder: Path) -> list[Path]:
    """Return the folders that hold the classes: the set's own, or those of its published splits."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Put the images there as <class>/<image>, or correct folder.")
    names = subfolders(folder)
    splits = split_folders(names)
    others = [name for name in names if name not in splits]
    if len(splits) > 1 and others:
        raise DataError(
            f"{folder}: has the folders {' and '.join(splits)}, which are splits, and beside them {others[0]!r}, which "
            "is none. Move it elsewhere, or name one of the splits in folder."
        )
    return [folder / name for name in splits] if splits and not others else [folder]
