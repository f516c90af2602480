"""MedMNIST v2: twelve published sets of small 2D medical images, read from their .npz files as they are.

Source: Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10, 2023. Files: https://medmnist.com, archived on Zenodo (28 pixels: record
6496656; 64, 128 and 224 pixels: record 10519652).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, prepared_once
from omnifm.data.columns import as_tensor
from omnifm.data.images import prepare
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, OneOf, settings

_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)


@dataclass(frozen=True)
class PublishedSet:
    """What the paper says of one set. ``multi_label``: an image can have several of the classes, or none."""

    modality: str
    classes: tuple[str, ...]
    channels: int = 1
    multi_label: bool = False


SETS = {
    "pathmnist": PublishedSet(
        "histology",
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        channels=3,
    ),
    "chestmnist": PublishedSet(
        "X-ray",
        (
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        multi_label=True,
    ),
    "dermamnist": PublishedSet(
        "dermatoscopy",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        channels=3,
    ),
    "octmnist": PublishedSet("OCT", ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": PublishedSet("X-ray", ("normal", "pneumonia")),
    "retinamnist": PublishedSet("fundus", ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"), channels=3),
    "breastmnist": PublishedSet("ultrasound", ("malignant", "normal or benign")),
    "bloodmnist": PublishedSet(
        "microscopy",
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        channels=3,
    ),
    "tissuemnist": PublishedSet(
        "microscopy",
        (
            "collecting duct, connecting tubule",
            "distal convoluted tubule",
            "glomerular endothelial cells",
            "interstitial endothelial cells",
            "leukocytes",
            "podocytes",
            "proximal tubule segments",
            "thick ascending limb",
        ),
    ),
    "organamnist": PublishedSet("CT", _ORGANS),
    "organcmnist": PublishedSet("CT", _ORGANS),
    "organsmnist": PublishedSet("CT", _ORGANS),
}

_CHUNK = 1024
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_REMEDY = "Fetch the published file from https://medmnist.com (archived on Zenodo)"


@settings
class MedMNISTSource:
    """One set of MedMNIST v2, with its published split.

    ``set`` is its name, such as ``breastmnist``; ``folder`` is below the data root. ``pixels`` (28, 64, 128 or 224)
    chooses the published file. ``name`` is the institution's; empty, it is the set's. ``limit`` takes at most that many
    rows of each split, evenly spaced (0: all). MedMNIST publishes no patients, so that each row is its own. Classes are
    named with their set ("breastmnist/malignant"), so that no two sets share one.
    """

    set: Annotated[str, OneOf(SETS)]
    kind: Literal["medmnist"] = "medmnist"
    name: str = ""
    folder: str = "medmnist"
    pixels: Literal[28, 64, 128, 224] = 28
    limit: CountOrZero = 0

    def load(self, loading: Loading) -> SourceTable:
        """Read the three splits of the set."""
        suffix = "" if self.pixels == 28 else f"_{self.pixels}"
        path = loading.root / self.folder / f"{self.set}{suffix}.npz"
        published = SETS[self.set]

        def make(number: int) -> Iterator[ItemRows]:
            arrays = _read(path)
            for short in _SPLITS:
                pixels, classes = arrays[f"{short}_images"], arrays[f"{short}_labels"]
                _check_shapes(path, short, pixels, classes, self.pixels, published)
                rows = torch.tensor(evenly_spaced(len(pixels), self.limit))
                for some in torch.split(rows, _CHUNK):
                    label = _labels(classes[some], published)
                    split = torch.full((len(some),), list(_SPLITS).index(short), dtype=torch.uint8)
                    image = prepare(pixels[some], loading.size, loading.channels)
                    yield ItemRows({"image": image, "label": label, "split": split, "row": some})

        fields = prepared_once(loading, self, [(path,)], make).fields
        splits = [tuple(_SPLITS.values())[split] for split in as_tensor(fields["split"]).tolist()]
        rows = as_tensor(fields["row"]).tolist()
        patients = [f"{self.set}/{split}/{row:06d}" for split, row in zip(splits, rows, strict=True)]
        return SourceTable(
            fields={"image": fields["image"], "label": as_tensor(fields["label"])},
            label_names=tuple(f"{self.set}/{name}" for name in published.classes),
            patients=tuple(patients),
            modalities=(published.modality,) * len(patients),
            institutions=(self.name or self.set,) * len(patients),
            split=tuple(splits),
        )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the six arrays of the file, never unpickling anything."""
    if not path.is_file():
        raise DataError(f"{path}: no such file. {_REMEDY} and put it there, unchanged.")
    names = [f"{short}_{what}" for short in _SPLITS for what in ("images", "labels")]
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
        if missing:
            raise DataError(f"{path}: has no array {missing[0]!r}. {_REMEDY} again.")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: damaged, or not a MedMNIST file ({error}). {_REMEDY} again.") from error


def _check_shapes(
    path: Path, short: str, images: NDArray[Any], labels: NDArray[Any], pixels: int, published: PublishedSet
) -> None:
    shape = (pixels, pixels) if published.channels == 1 else (pixels, pixels, published.channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise DataError(
            f"{path}: {short}_images is {images.dtype} {images.shape}, but must be uint8 (images, "
            f"{', '.join(map(str, shape))}). {_REMEDY} of {pixels} pixels."
        )
    columns = len(published.classes) if published.multi_label else 1
    if labels.dtype.kind not in "iu" or labels.shape != (len(images), columns):
        raise DataError(
            f"{path}: {short}_labels is {labels.dtype} {labels.shape}, but must be integers ({len(images)}, "
            f"{columns}). {_REMEDY} again."
        )
    highest = 1 if published.multi_label else len(published.classes) - 1
    wrong = np.argwhere((labels < 0) | (labels > highest))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}: {short}_labels, row {row}, is {labels[row, column]}, but must be 0 to {highest}. {_REMEDY} again."
        )


def _labels(labels: NDArray[Any], published: PublishedSet) -> Tensor:
    """Return ``(rows,)`` int64 classes, or ``(rows, classes)`` uint8 of 0 and 1 for a multi-label set."""
    if published.multi_label:
        return torch.from_numpy(labels.astype(np.uint8))
    return torch.from_numpy(labels[:, 0].astype(np.int64))
