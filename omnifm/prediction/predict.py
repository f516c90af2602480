"""Predict new images with a trained model, and write what was found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from omnifm.data.colour import to_colour, to_luminance_and_chroma
from omnifm.data.preparation import Preparation, preparation_of
from omnifm.data.reading import MedicalImage
from omnifm.data.subset import evenly_spaced
from omnifm.data.writing.image_files import write_image
from omnifm.data.writing.mask_files import write_masks
from omnifm.export.client_model import ClientModel
from omnifm.export.loaded_arm import LoadedArm
from omnifm.prediction.chosen_model import newcomer
from omnifm.prediction.inference import answer_to, made_image, probabilities, region_probabilities, seen_by_network
from omnifm.prediction.requests import PredictionRequest
from omnifm.utils.errors import DataError, ExperimentError

PREDICTIONS = "predictions.csv"
MOST_LOOKED_AT = 256
"""So many slices or images of a new hospital are looked at to choose its model."""
_log = logging.getLogger("omnifm")


@dataclass(frozen=True)
class Predictions:
    """What was predicted: ``table`` has a row for each image; ``failed`` says of the others why there is none."""

    table: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)
    chosen: str = ""


def predict(
    loaded: LoadedArm,
    requests: Sequence[PredictionRequest],
    *,
    client: str | None = None,
    modality: str = "",
    out: Path | None = None,
    each: Callable[[str], None] = lambda name: None,
) -> Predictions:
    """Predict images, and write masks and images below ``out``, and ``predictions.csv`` into it.

    What cannot be read is left out, and listed.

    Args:
        loaded: the arm whose models are used.
        requests: what to predict.
        client: whose model; without one, that for a hospital that took no part, chosen by the images given.
        modality: of the images, where the sources of the experiment prepare several in different ways.
        out: the folder of what is found; needed where masks or images are.
        each: is told the name of each image before it is predicted.

    Raises:
        ExperimentError, CheckpointError: there is no model, or it cannot be used for images in files.
        DataError: none of the images can be read.
    """
    task, spec = loaded.arm.task, loaded.arm.data_spec
    gives = task.signature.gives
    if gives == "tensor":
        raise ExperimentError(f"The task {loaded.experiment.task!r} has no signature that says what its networks give.")
    if gives in ("regions", "image") and out is None:
        raise ExperimentError("The network gives images: name a folder for them (out).")
    if gives == "text" and (lacking := [one.name for one in requests if not one.question]):
        raise ExperimentError(f"{lacking[0]}: nothing is asked of it. Give --question, or a table with that column.")
    group = modality or next((one.group for one in spec.client_stats if one.name == client), "")
    prepared = preparation_of(loaded.experiment.data, spec.axes, spec.channels, group)
    reader, failed = _Reader(prepared, task.images), dict[str, str]()
    if client is not None:
        model, chosen = loaded.model(client), f"The model of {client}, with its personal parts."
    else:
        seen = reader.sample(loaded, requests)
        model, chosen = newcomer(loaded, seen, requests[0].question if gives == "text" else "")
    rows = []
    for request in requests:
        each(request.name)
        try:
            with torch.no_grad():
                rows.append({"file": request.name, **_found(model, reader.read(request), request, out)})
        except DataError as error:
            failed[request.name] = str(error)
    table = pd.DataFrame(rows)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        table.to_csv(out / PREDICTIONS, index=False, float_format="%.6g")
    return Predictions(table, failed, chosen)


@dataclass(frozen=True)
class _Example:
    """What was read for a request: the images of its files, their ``planes``, and the colour of the first of a pair."""

    images: tuple[MedicalImage, ...]
    planes: Tensor
    prepared: Preparation
    chroma: Tensor | None = None


@dataclass(frozen=True)
class _Reader:
    """Reads requests as training read its images."""

    prepared: Preparation
    count: int

    def read(self, request: PredictionRequest) -> _Example:
        if self.count > 1 and len(request.files) != self.count:
            raise DataError(
                f"{request.name}: an example is {self.count} registered images, and this names {len(request.files)}. "
                "Join their paths by ';'."
            )
        images = tuple(self.prepared.read(path) for path in request.files)
        if self.count == 1:
            return _Example(images, self.prepared.planes(images), self.prepared)
        colour = self.prepared.planes(images[:1], channels=3)
        luminance, chroma = to_luminance_and_chroma(colour[None])
        second = self.prepared.planes(images[1:], channels=1)
        if second.shape[1:] != luminance.shape[2:]:
            raise DataError(f"{request.name}: the images of a pair must be of one size. Register them on one grid.")
        return _Example(images, torch.cat([luminance[0], second]), self.prepared, chroma if images[0].colour else None)

    def sample(self, loaded: LoadedArm, requests: Sequence[PredictionRequest]) -> Tensor:
        """Return images of a new hospital as a network sees them, of those that can be read.

        Raises:
            DataError: none can.
        """
        blank = ClientModel(loaded.arm.runtime.model, loaded.arm.task, loaded.arm.data_spec)
        parts: list[Tensor] = []
        reason = ""
        for place in evenly_spaced(len(requests), MOST_LOOKED_AT):
            try:
                rows = seen_by_network(blank, self.prepared, self.read(requests[place]).planes)
                parts.append(rows[evenly_spaced(len(rows), 16)])
            except DataError as error:
                reason = reason or str(error)
        if not parts:
            raise DataError(f"None of the {len(requests)} images can be read. {reason}")
        return torch.cat(parts)[:MOST_LOOKED_AT]


def _found(model: ClientModel, example: _Example, request: PredictionRequest, out: Path | None) -> dict[str, Any]:
    """Predict one example; return the columns of its row."""
    gives, prepared, planes = model.task.signature.gives, example.prepared, example.planes
    if gives == "labels":
        return _labelled(model, probabilities(model, prepared, planes))
    if gives == "text":
        return {"question": request.question, "answer": answer_to(model, prepared, planes, request.question)}
    assert out is not None
    stem = out / request.stem
    stem.parent.mkdir(parents=True, exist_ok=True)
    first = example.images[0]
    if gives == "regions":
        names = [name for name in model.label_names if name in model.allowed]
        found = region_probabilities(model, prepared, planes, first.spacing).numpy()
        threshold = model.task.signature.facts["threshold"]
        masks = found[[model.label_names.index(name) for name in names]] > threshold
        files = write_masks(stem.with_name(f"{stem.name}_mask"), first, masks, names)
        return {"mask": str(files[0].relative_to(out)), **dict(_sizes(first, masks, names))}
    made = made_image(model, prepared, planes)
    scale = int(model.task.signature.facts.get("scale", 1))
    if example.chroma is not None:
        made = to_colour(made[None], example.chroma)[0]
    unit = made.movedim(0, -1).numpy() if len(made) == 3 else made[0].numpy()
    limits = prepared.limits(first)
    name = next(iter(model.task.signature.outputs))
    file = write_image(stem.with_name(f"{stem.name}_{name}"), first, unit, limits, scale)
    return {name: str(file.relative_to(out))}


def _labelled(model: ClientModel, probability: Tensor) -> dict[str, Any]:
    """Return the label found, or those above one half where an image can have several, and all probabilities."""
    known = [(name, float(p)) for name, p in zip(model.label_names, probability, strict=True) if name in model.allowed]
    best = max(known, key=lambda one: one[1])[0] if known else ""
    found = best if model.exclusive else "; ".join(name for name, p in known if p > 0.5)
    return {"predicted": found, **dict(known)}


def _sizes(image: MedicalImage, masks: Any, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield how large each region is: in ml or mm2 where the image says how large its pixels are, else in pixels."""
    step = 1.0
    for side in image.spacing or ():
        step *= side
    volume = image.is_volume
    unit = ("ml" if volume else "mm2") if image.spacing else "voxels" if volume else "pixels"
    for name, mask in zip(names, masks, strict=True):
        yield f"{name} ({unit})", float(mask.sum()) * step / (1000 if unit == "ml" else 1)
