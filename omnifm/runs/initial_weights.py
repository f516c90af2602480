"""Initial weights from a file in place of the seed's: tensors that fit are taken, others are reported."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from omnifm.checkpoint.weight_file import Origin, read_weights
from omnifm.config.experiment import Experiment, to_document
from omnifm.config.overrides import differences
from omnifm.config.toml import Document, to_toml
from omnifm.tasks.task import DataShape
from omnifm.training.model import ALWAYS_PERSONAL, FederatedModel
from omnifm.training.weight_cache import learned_state_dict
from omnifm.utils.errors import ExperimentError
from omnifm.utils.warn_once import warn_once

_PARTS = ("network.", "adapter.")
_NAMED = 4


def origin_of(experiment: Experiment, shape: DataShape) -> Origin:
    """Return what a model of this experiment is made for."""
    document = to_document(experiment)
    adapter = {key: value for key, value in document["adapter"].items() if key != "use"}
    return Origin(
        task=experiment.task,
        settings={experiment.task: document.get(experiment.task, {}), "adapter": adapter},
        channels=shape.channels,
        size=shape.size,
        label_names=shape.label_names,
        vocabulary=shape.vocabulary,
        experiment=hashlib.sha256(to_toml(document).encode()).hexdigest(),
    )


def travels(name: str) -> bool:
    """Return whether another model can start from a tensor.

    An algorithm's auxiliary module is its own, and the suffix its hospital's. Counters of batches start at zero: a new
    run has measured no statistics yet.
    """
    return name.startswith(_PARTS) and name.rsplit(".", 1)[-1] not in (*ALWAYS_PERSONAL, "num_batches_tracked")


@torch.no_grad()
def start_from(model: FederatedModel, init: str, path: Path, here: Origin) -> None:
    """Put the weights of a file in place of those that the seed has drawn.

    What the file does not hold stays as drawn, and so does, where the labels are others than the file's, what depends
    on them: tensors of the head that differ in the length of one axis, or have as many rows as there are labels. A
    warning names them. Parts of the adapter that the model does not have are left out.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
        ExperimentError: it is for another task or another network; names the tensor and what made the difference.
    """
    given, there = read_weights(path)
    if there.task != here.task:
        raise ExperimentError(f"init = {init!r} was made for task = {there.task!r}; this one is {here.task!r}.")
    own = learned_state_dict(model)
    if strange := [name for name in given if name.startswith("network.") and name not in own]:
        raise ExperimentError(f"init = {init!r} has {strange[0]}, which this network has not.{_why(there, here)}")
    relabelled = (there.label_names, there.vocabulary) != (here.label_names, here.vocabulary)
    counts = {len(names) for names in (here.label_names, here.vocabulary) if names}
    missing, of_labels = [], []
    for name, value in own.items():
        if not travels(name):
            continue
        if name not in given:
            missing.append(name)
        elif relabelled and name.startswith("network.head.") and _depends_on_labels(value, given[name], counts):
            of_labels.append(name)
        elif value.shape != given[name].shape:
            raise ExperimentError(
                f"init = {init!r} does not fit: {name} is {tuple(given[name].shape)} in the file, and "
                f"{tuple(value.shape)} here.{_why(there, here)}"
            )
        else:
            value.copy_(given[name])
    reasons = {"the labels are others than the file's": of_labels, "the file does not hold them": missing}
    if reported := [f"{_named(names)} ({why})" for why, names in reasons.items() if names]:
        warn_once(f"init = {init!r}: not taken from it are {', and '.join(reported)}.")


def _depends_on_labels(now: Tensor, then: Tensor, counts: set[int]) -> bool:
    if now.shape == then.shape:
        return now.dim() > 0 and len(now) in counts
    return now.dim() == then.dim() and sum(a != b for a, b in zip(now.shape, then.shape, strict=True)) == 1


def _why(there: Origin, here: Origin) -> str:
    """Return the settings and the shape of the data of the file where they differ."""
    changed = differences(_shaping(there), _shaping(here))
    return f" It was made with other settings: {'; '.join(changed)}." if changed else ""


def _shaping(origin: Origin) -> Document:
    data = {"channels": origin.channels, "size": list(origin.size), "labels": len(origin.label_names)}
    return {**origin.settings, **data}


def _named(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    return ", ".join(f"{part} ({count} tensors)" for part, count in parts.items())
