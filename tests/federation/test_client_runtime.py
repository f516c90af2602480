from __future__ import annotations

import pytest
import torch
from helpers import Quadratic, plain_sgd, quadratic_trainer, same, small_arm

from omnifm.algorithms.fedavg import FedAvg
from omnifm.core.records import Broadcast, ClientState
from omnifm.federation.client import ClientRuntime
from omnifm.runs.arm import Arm


@pytest.mark.parametrize(("number", "rate"), [(1, 0.1), (3, 0.05), (4, 0.0146447), (5, 0.0146447)])
def test_the_learning_rate_falls_over_the_rounds(number: int, rate: float) -> None:
    # The fifth is the round after the last of four, in which the last model is personalised.
    client = quadratic_trainer("a", [1.0])
    initial = client.tensors(shared=True)
    settings = plain_sgd(0.1, schedule="cosine")
    runtime = ClientRuntime(
        model=client.model,
        task=Quadratic(),
        algorithm=FedAvg(),
        training=settings,
        clients={"a": client.client},
        initial=initial,
        personal=frozenset(),
        seed=0,
        rounds=4,
    )
    upload, _ = runtime.update(Broadcast(number, initial), "a", ClientState())
    assert upload.change["network.weight"].item() == pytest.approx(rate, abs=1e-7)


def test_nothing_is_left_of_the_client_before() -> None:
    arm = small_arm("fedavg", adapter={"use": "on"}, federation={"personal": ["backbone"]})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    fresh, state = arm.runtime.update(broadcast, "CT-1", ClientState())
    arm.runtime.update(broadcast, "MRI", ClientState())
    assert arm.runtime.model.adapter is not None
    arm.runtime.model.adapter.use_bank(torch.eye(8))
    again, after = arm.runtime.update(broadcast, "CT-1", ClientState())
    assert same(fresh.change, again.change)
    assert same(state.personal, after.personal)


@pytest.mark.parametrize("norm", ["batch", "batch-personal"])
def test_own_statistics_are_measured_before_the_model_is_evaluated(norm: str) -> None:
    arm = small_arm("fedavg", classification={"norm": norm})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    arm.runtime.evaluate(broadcast, "CT-1", ClientState(), "test", "before_local_training")
    backbone = arm.runtime.model.network.backbone
    measured = backbone[0](arm.runtime.clients["CT-1"].train.column("image")).mean(dim=(0, 2, 3))
    expected = measured if norm == "batch-personal" else torch.zeros(8)
    torch.testing.assert_close(backbone[1].running_mean, expected, rtol=1e-4, atol=1e-5)


def test_statistics_of_a_backbone_that_stayed_at_home_are_not_measured_again() -> None:
    arm = small_arm("omnifm", omnifm={"personal": ["backbone"]})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    _, state = arm.runtime.update(broadcast, "CT-1", ClientState())
    arm.runtime.update(broadcast, "MRI", ClientState())
    arm.runtime.evaluate(broadcast, "CT-1", state, "test", "before_local_training")
    norm = arm.runtime.model.network.backbone[1]
    assert torch.equal(norm.running_mean, state.personal["network.backbone.1.running_mean"])
    # They are those that a measurement gives, but for the order in which the images come.
    measured = arm.runtime.model.network.backbone[0](arm.runtime.clients["CT-1"].train.column("image"))
    torch.testing.assert_close(norm.running_mean, measured.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_pictures_are_spread_over_the_test_images() -> None:
    arm = small_arm("fedavg")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    shown = arm.runtime.show(broadcast, "CT-1", ClientState(), "before_local_training", 3)
    images = arm.runtime.clients["CT-1"].test.column("image")
    assert len(shown) == 3
    # Twelve images: the first, the last, and that in the middle (5.5 rounds to the even 6).
    for panel, row in zip(shown, (0, 6, 11), strict=True):
        assert panel.given[0].pixels.tolist() == (images[row, 0] * 255).to(torch.uint8).tolist()
    assert len(arm.runtime.show(broadcast, "CT-1", ClientState(), "before_local_training", 99)) == 12


def test_before_anything_is_loaded_a_client_has_the_first_weights() -> None:
    arm = small_arm("fedavg")
    arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
    assert same(arm.runtime._trainer("MRI", 1).tensors(), arm.runtime.initial)


def test_judging_one_client_after_another_is_as_judging_each_afresh() -> None:
    names = ("CT-1", "MRI", "CT-1", "CT-2", "MRI")
    arm = small_arm("omnifm")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    states = {name: arm.runtime.update(broadcast, name, ClientState())[1] for name in ("CT-1", "MRI")}

    def evaluated(arm: Arm, name: str) -> dict[str, float]:
        return arm.runtime.evaluate(
            broadcast, name, states.get(name, ClientState()), "test", "before_local_training"
        ).numbers

    assert [evaluated(arm, name) for name in names] == [evaluated(small_arm("omnifm"), name) for name in names]
