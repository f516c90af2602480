from __future__ import annotations

import pytest
import torch
from helpers import small_arm, small_experiment
from torch import Tensor

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import ClientState, Upload
from omnifm.privacy.clip import ClipNorm
from omnifm.privacy.secret import ClientSecret
from omnifm.runs.arm import Arm
from omnifm.utils.errors import ExperimentError


def clipped(threshold: float) -> Upload:
    change = {
        "w": torch.tensor([3.0, 0.0]),
        "v": torch.tensor([[4.0]]),
        "running_mean": torch.tensor([100.0]),
        "batches": torch.tensor(7),
    }
    kinds = {
        "change/w": Kind.PARAMETER,
        "change/v": Kind.PARAMETER,
        "change/running_mean": Kind.BUFFER,
        "change/batches": Kind.COUNTER,
        "extra/control": Kind.AUXILIARY,
    }
    upload = Upload("a", 1, 0.0, change, {"control": torch.tensor([50.0])})
    return ClipNorm(threshold).on_client(upload, kinds, ClientSecret())


def test_parameters_are_scaled_together_by_hand() -> None:
    # The norm of (3, 0, 4) is 5: half of it is left.
    upload = clipped(2.5)
    assert upload.change["w"].tolist() == [1.5, 0.0]
    assert upload.change["v"].tolist() == [[2.0]]
    assert (upload.change["running_mean"].item(), upload.change["batches"].item()) == (100.0, 7)
    assert upload.extra["control"].item() == 50.0


@pytest.mark.parametrize("threshold", [5.0, 9.0])
def test_what_is_short_enough_is_left(threshold: float) -> None:
    assert clipped(threshold).change["w"].tolist() == [3.0, 0.0]


def parameters(arm: Arm) -> Tensor:
    upload, _ = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
    kinds = arm.runtime.kinds(upload)
    return torch.cat([v.flatten() for n, v in upload.change.items() if kinds[f"change/{n}"] is Kind.PARAMETER])


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm"])
def test_it_is_a_setting_of_the_experiment(algorithm: str) -> None:
    free = parameters(small_arm(algorithm))
    length = float(free.norm())
    short = parameters(small_arm(algorithm, privacy={"clip": length / 4}))
    torch.testing.assert_close(short, free / 4)
    assert torch.equal(parameters(small_arm(algorithm, privacy={"clip": 2 * length})), free)


@pytest.mark.parametrize("clip", [-1.0, "much"])
def test_a_mistake_is_named(clip: object) -> None:
    with pytest.raises(ExperimentError, match=r"privacy\.clip"):
        small_experiment("fedavg", privacy={"clip": clip})
