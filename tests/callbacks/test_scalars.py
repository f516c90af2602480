"""Trackers get what there is: of a private run no loss, but what was spent."""

from __future__ import annotations

from omnifm.callbacks.events import ArmInfo, RoundEvent
from omnifm.callbacks.scalars import round_scalars


def scalars(clients: dict[str, dict[str, float]]) -> dict[str, float]:
    event = RoundEvent(ArmInfo(), 1, seconds=1.0, bytes_down=1, bytes_up=1, clients=clients, report={})
    return dict(round_scalars(event))


def test_the_loss_is_weighted_by_samples() -> None:
    found = scalars({"a": {"loss": 1.0, "samples": 1}, "b": {"loss": 5.0, "samples": 3}})
    assert found["train/loss"] == 4.0
    assert "train/epsilon" not in found


def test_a_private_round_has_an_epsilon_and_no_loss() -> None:
    found = scalars({"a": {"samples": 10, "epsilon": 1.0}, "b": {"samples": 9, "epsilon": 1.5}})
    assert found["train/epsilon"] == 1.5
    assert "train/loss" not in found
    assert scalars({})["train/clients"] == 0
