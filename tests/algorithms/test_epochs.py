"""Every algorithm says how often it passes over a client's data: a hospital's policy bounds it before the work."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import small_arm

from omnifm.algorithms.registry import ALGORITHM_SETTINGS
from omnifm.core.records import ClientState
from omnifm.utils.work_limit import WorkLimitError, limited


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("name", sorted(ALGORITHM_SETTINGS))
def test_it_passes_over_the_data_as_often_as_it_says(name: str, epochs: int) -> None:
    arm = small_arm(name, training={"epochs": epochs})
    broadcast, client = arm.algorithm.broadcast(arm.start().server), arm.participants[0]
    said = arm.algorithm.epochs(arm.runtime.training)
    with limited(600, said):
        arm.runtime.update(broadcast, client, ClientState())
    if said > 1:
        with limited(600, said - 1), pytest.raises(WorkLimitError):
            arm.runtime.update(broadcast, client, ClientState())


@pytest.mark.parametrize(
    ("name", "settings", "epochs"),
    [("fedrep", {"head_epochs": 40}, 41), ("ditto", {}, 2), ("omnifm", {"base": "ditto", "variant": "paper"}, 2)],
)
def test_epochs_of_their_own_are_counted(name: str, settings: dict[str, Any], epochs: int) -> None:
    changes: dict[str, Any] = {name: settings}
    arm = small_arm(name, **changes)
    assert arm.algorithm.epochs(arm.runtime.training) == epochs
