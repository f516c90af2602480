"""Every rule combines what every algorithm uploads: weights, control variates, added modules, circles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import made_client, small_arm

from omnifm.algorithms.aggregation.registry import AGGREGATORS
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.in_process import InProcess

ALGORITHMS: dict[str, dict[str, Any]] = {
    "fedadam": {},
    "scaffold": {},
    "gpfl": {},
    "feddyn": {},
    "moon": {},
    "fedper": {},
    "omnifm": {"omnifm": {"variant": "circles", "circles": "group", "base": "scaffold"}},
}
RULES = sorted(AGGREGATORS.keys() - {"mean", "krum"})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_two_rounds(algorithm: str) -> None:
    groups = ("CT", "CT", "CT", "MRI", "MRI")
    dataset = FederatedDataset(
        tuple(made_client(f"h{n}", group, (0, 1), n, 12) for n, group in enumerate(groups)), ("x", "y", "z")
    )
    changed: dict[str, dict[str, torch.Tensor]] = {}
    for rule in ["mean", *RULES]:
        arm = small_arm(algorithm, dataset, training={"epochs": 1}, aggregation={"rule": rule}, **ALGORITHMS[algorithm])
        state = arm.start().server
        with InProcess(arm.runtime, 1) as engine:
            for _ in range(2):
                sent = arm.algorithm.broadcast(state)
                messages = {name: arm.algorithm.message(state, name) for name in arm.participants}
                state = arm.algorithm.server_update(state, engine.update(sent, arm.participants, messages))
        changed[rule] = {**state.shared, **{f"memory/{name}": value for name, value in state.memory.items()}}
        floats = {name: value for name, value in changed[rule].items() if value.is_floating_point()}
        assert all(torch.isfinite(value).all() for value in floats.values())
    plain = changed["mean"]
    for rule in RULES:
        assert changed[rule].keys() >= {name for name in plain if not name.startswith("memory/bank")}
        assert any(not torch.equal(value, plain[name]) for name, value in changed[rule].items() if name in plain)
