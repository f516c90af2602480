"""Scores of a client's model that may leave in a private run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.tasks.task import Scores
from omnifm.training.private import PrivateRound, Release, rows_by_patient
from omnifm.utils.device import deterministic

if TYPE_CHECKING:
    from omnifm.training.trainer import Trainer

_RELEASES: dict[Split, tuple[Release, Release]] = {
    "validation": (Release.VALIDATION_PATIENTS, Release.VALIDATION_SCORES),
    "test": (Release.TEST_PATIENTS, Release.TEST_SCORES),
}


def private_scores(trainer: Trainer, private: PrivateRound, split: Split, point: EvaluationPoint) -> Scores:
    """Return the task's main metric with noise, and nothing else: other metrics, the loss and tables stay.

    It is the mean over patients of what the metric says of each alone, clipped to the task's ``private_range``. For
    accuracy and Dice that is the usual score, with every patient weighted alike.
    """
    examples, task = getattr(trainer.client, split), trainer.task
    (low, high), metric = task.private_range, task.main_metric
    middle, half = (low + high) / 2, (high - low) / 2
    total, patients = 0.0, rows_by_patient(examples)
    with torch.inference_mode(), deterministic(trainer.device):
        for rows in patients:
            one = task.metric(trainer.client.train)
            for batch, output in trainer.predict(examples, rows):
                one.update(output.prediction, batch)
            score = one.compute().numbers.get(metric, low)
            total += (min(max(score, low), high) - middle) / half if math.isfinite(score) else -1.0
    counted, scored = _RELEASES[split]
    told = private.patients(counted, len(patients))
    noised = float(private.noised(scored, torch.tensor([total], dtype=torch.float64), 1.0, split, point))
    return Scores({metric: min(max(middle + half * noised / told, low), high)}, {})
