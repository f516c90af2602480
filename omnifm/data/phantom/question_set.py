"""The phantom as images with questions, whose answers follow from the known truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from omnifm.data.columns import Shared, Texts
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.phantom.hospitals import PhantomHospitals
from omnifm.data.phantom.tissues import TISSUE_CODES
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import settings

Map = NDArray[np.uint8]

TYPES = ("modality", "presence", "kind", "side", "count", "size")
CLOSED = ("presence", "size")
MOST = 5
PHRASINGS = {
    "modality": ("what modality is this image?", "which imaging modality was used?", "how was this image taken?"),
    "presence": ("is there a lesion?", "does the image show a lesion?", "can a lesion be seen in this brain?"),
    "kind": ("what kind of lesion is it?", "which disease does the image show?", "what is wrong with this brain?"),
    "side": (
        "on which side is the lesion?",
        "which side of the brain is affected?",
        "is the lesion on the left or on the right?",
    ),
    "count": ("how many lesions are there?", "what is the number of lesions?", "count the lesions in this slice."),
    "size": (
        "is the lesion larger than the ventricles?",
        "does the lesion cover more than the ventricles?",
        "are the ventricles smaller than the lesion?",
    ),
}


@settings
class PhantomQuestionsSource(PhantomHospitals):
    """The images of the phantom and up to six questions about each; see ``docs/phantom.md``.

    ``questions`` says how many are asked of an image, drawn at random; each is put in one of three ways. Fields of the
    table: as ``omnifm.data.questions``.
    """

    kind: Literal["phantom_questions"] = "phantom_questions"
    questions: Annotated[int, Field(ge=1, le=len(TYPES))] = len(TYPES)

    def load(self, loading: Loading) -> SourceTable:
        """Make the images, or read them from the cache, and ask."""
        made = PhantomSource(self.modalities, self.classes, self.patients, self.hospitals, self.slices).stored(loading)
        places = self.places()
        rows, asked = [], []
        maps = zip(made["label"].tolist(), made["tissue"].numpy(), made["lesion"].numpy(), strict=True)
        for row, (label, tissue, lesion) in enumerate(maps):
            truths = list(answers(places["modalities"][row], self.classes[label], tissue, lesion))
            ways = numpy_generator(loading.seed, "questions", places["patients"][row], row % self.slices)
            for number in sorted(ways.permutation(len(truths))[: self.questions]):
                kind, truth = truths[number]
                rows.append(row)
                asked.append((kind, str(ways.choice(PHRASINGS[kind])), truth))
        index = torch.tensor(rows)
        return SourceTable(
            fields={
                "image": Shared(made["image"].expand(-1, loading.channels, -1, -1), index),
                "question": Texts.of([question for _, question, _ in asked]),
                "answer": Texts.of([answer for _, _, answer in asked]),
                "closed": torch.tensor([kind in CLOSED for kind, _, _ in asked]),
                "label": torch.tensor([TYPES.index(kind) for kind, _, _ in asked]),
            },
            label_names=TYPES,
            **{name: tuple(of_images[row] for row in rows) for name, of_images in places.items()},
        )


def answers(modality: str, disease: str, tissue: Map, lesion: Map) -> Iterator[tuple[str, str]]:
    """Yield the type of each question that the truth maps ``(size, size)`` can answer, and the answer.

    A slice without a lesion is asked for modality, presence, kind ("none") and count ("0") only. Lesions are pieces of
    the map that do not touch, not even by a corner. A side is that of three quarters of the lesion's area or more.
    """
    from scipy import ndimage  # slow to import

    found = lesion > 0
    count = ndimage.label(found, np.ones((3, 3)))[1]
    yield "modality", modality.lower()
    yield "presence", "yes" if count else "no"
    yield "kind", disease if count else "none"
    yield "count", str(count) if count < MOST else f"{MOST} or more"
    if count:
        yield "side", _side(found)
        yield "size", "yes" if found.sum() > ventricles(tissue).sum() else "no"


def ventricles(tissue: Map) -> NDArray[np.bool_]:
    """Return where fluid is deep in the brain: farther from the skull than a tenth of the picture's side."""
    from scipy import ndimage

    csf, grey, white = (tissue == TISSUE_CODES[name] for name in ("csf", "grey", "white"))
    depth = ndimage.distance_transform_edt(np.pad(csf | grey | white, 1))[1:-1, 1:-1]
    deep: NDArray[np.bool_] = csf & (depth > 0.1 * len(tissue))
    return deep


def _side(found: NDArray[np.bool_]) -> str:
    """Name the patient's side: columns run from right to left."""
    left = float(found[:, found.shape[1] // 2 :].sum() / found.sum())
    return "left" if left >= 0.75 else "right" if left <= 0.25 else "both"
