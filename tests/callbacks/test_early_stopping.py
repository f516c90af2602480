from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import small_arm

from omnifm.algorithms.fedavg import FedAvg
from omnifm.callbacks.callback import Stop
from omnifm.callbacks.early_stopping import EarlyStopping
from omnifm.callbacks.events import ArmInfo, ArmStart, CheckpointEvent
from omnifm.core.checkpoint import Checkpoint
from omnifm.engines.in_process import InProcess


def checkpoint(number: int, **best: int) -> Checkpoint:
    server = replace(FedAvg().init({"w": torch.zeros(1)}, ["w"], []), round=number)
    return Checkpoint(server, {}, {point: (found, 0.5) for point, found in best.items()})


@pytest.mark.parametrize(
    ("number", "best", "stops"),
    [
        (2, {"before_local_training": 2}, False),
        (5, {"before_local_training": 2}, False),  # one evaluation without gain, at 4
        (6, {"before_local_training": 2}, True),
        (6, {"before_local_training": 2, "after_local_training": 4}, False),  # one point that improves is enough
        (8, {"before_local_training": 2, "after_local_training": 4}, True),
        (3, {}, False),
        (4, {}, True),  # no score was ever a number
    ],
)
def test_two_evaluations_in_a_row_without_gain(number: int, best: dict[str, int], stops: bool) -> None:
    stopping, found = EarlyStopping(2, evaluate_every=2), checkpoint(number, **best)
    expected = Stop("no score has improved in 2 evaluations on validation data") if stops else None
    assert stopping.on_checkpoint(CheckpointEvent(ArmInfo(), found)) == expected
    assert stopping.on_arm_start(ArmStart(ArmInfo(), found)) == expected


def test_patience_of_the_experiment_stops_its_arm() -> None:
    # Nothing is learned at this rate, so that no later round is better than the first.
    still: dict[str, Any] = {
        "federation": {"rounds": 5, "evaluate_every": 1, "patience": 2},
        "training": {"learning_rate": 1e-30},
    }
    arm = small_arm("fedavg", **still)
    with InProcess(arm.runtime) as engine:
        federation = arm.federation(engine)
        last = federation.run(arm.start())
    assert federation.stop is not None
    assert last.server.round == 2 + max(number for number, _ in last.best.values()) < 5
