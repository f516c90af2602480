"""Events of an arm, made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from omnifm.algorithms.fedavg import FedAvg
from omnifm.callbacks.events import ArmInfo, ArmStart, EvaluationEvent, RoundEvent, RunInfo
from omnifm.core.checkpoint import Checkpoint
from omnifm.tasks.task import Scores


def arm_in(run: Path) -> ArmInfo:
    folder = run / "fedavg"
    folder.mkdir(exist_ok=True)
    document = {"seed": 3, "federation": {"rounds": 4, "personal": []}}
    return ArmInfo(
        run=RunInfo("tiny", run),
        name="fedavg",
        folder=folder,
        seed=3,
        rounds=4,
        metric="accuracy",
        points=("before_local_training",),
        experiment=document,
    )


def start(arm: ArmInfo, number: int = 0) -> ArmStart:
    server = replace(FedAvg().init({"w": torch.zeros(1)}, ["w"], []), round=number)
    return ArmStart(arm, Checkpoint(server))


def round_of(arm: ArmInfo, number: int, loss: float) -> RoundEvent:
    """A round of two clients, the second of which has three times the samples and no loss."""
    clients = {"CT": {"loss": 4 * loss, "samples": 10}, "PET/CT, 1": {"loss": 0.0, "samples": 30}}
    return RoundEvent(arm, number, seconds=0.5, bytes_down=200, bytes_up=100, clients=clients, report={})


def evaluation(arm: ArmInfo, number: int, score: float) -> EvaluationEvent:
    """Two clients around a mean score; one of them has a measure that the other has not."""
    scores = {
        "CT": Scores({"accuracy": score - 0.25}, {}),
        "PET/CT, 1": Scores({"accuracy": score + 0.25, "auc": 0.5}, {}),
    }
    return EvaluationEvent(arm, number, split="validation", point="before_local_training", scores=scores)
