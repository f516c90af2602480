from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers import made_holdings, plain_sgd, same, small_arm
from made_tasks import all_moved, dense_rounds, line_trainer, own_trainer, played
from torch import Tensor

from omnifm.algorithms.fedrep import FedRep
from omnifm.core.records import Broadcast, ClientState
from omnifm.core.tensors import Tensors
from omnifm.data.subset import Batch
from omnifm.runs.arm import Arm
from omnifm.training.hooks import LocalTraining, Phase
from omnifm.training.model import Output
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import NonFiniteLossError

BODY, HEAD = "network.weight", "network.head.weight"
HEADS = {"network.head.weight", "network.head.bias"}
NOWHERE = Broadcast(1, {})


def test_head_then_body_by_hand() -> None:
    algorithm = FedRep()
    start = algorithm.init({BODY: torch.ones(1)}, [BODY], made_holdings(1))
    trainer = line_trainer("a", [3.0], plain_sgd(0.1, epochs=2))
    upload, after = algorithm.client_update(algorithm.broadcast(start), ClientState({HEAD: torch.ones(1, 1)}), trainer)
    # 0.5 (h w - 3)^2 from h = w = 1. The head's gradient is (1 - 3) 1: h = 1.2.
    # Then the body's is (1.2 - 3) 1.2 = -2.16: w = 1.216. (At once: 1.2 and 1.2; body first: h = 1.216.)
    assert after.personal[HEAD].item() == pytest.approx(1.2)
    assert upload.change.keys() == {BODY}
    assert upload.change[BODY].item() == pytest.approx(0.216)
    # The loss is that of the last epoch, the body's: 0.5 (1.2 - 3)^2.
    assert upload.loss == pytest.approx(1.62)


def test_the_body_is_averaged_and_the_heads_are_not() -> None:
    algorithm = FedRep()
    start = algorithm.init({BODY: torch.ones(1)}, [BODY], made_holdings(2))
    broadcast = algorithm.broadcast(start)
    done = [
        algorithm.client_update(broadcast, ClientState({HEAD: torch.ones(1, 1)}), line_trainer(name, targets))
        for name, targets in (("a", [3.0]), ("b", [0.0] * 3))
    ]
    # a as above; b: h = 1 - 0.1 = 0.9, then w = 1 - 0.1 (0.9 * 0.9) = 0.919. Weights 1/4 and 3/4.
    body = algorithm.server_update(start, [upload for upload, _ in done]).shared[BODY].item()
    assert body == pytest.approx(0.25 * 1.216 + 0.75 * 0.919)
    assert [after.personal[HEAD].item() for _, after in done] == pytest.approx([1.2, 0.9])


# One local epoch is too few for two phases, then the body gets one of its own.
@pytest.mark.parametrize(
    ("epochs", "head_epochs", "planned"),
    [(1, 1, (1, 1)), (2, 1, (1, 1)), (5, 2, (2, 3)), (3, 3, (3, 1)), (2, 9, (9, 1))],
)
def test_epochs_of_head_and_body(epochs: int, head_epochs: int, planned: tuple[int, int]) -> None:
    trainer = line_trainer("a", [3.0], plain_sgd(epochs=epochs))
    local_training = FedRep(head_epochs=head_epochs).local_training(NOWHERE, ClientState(), trainer)
    assert local_training == LocalTraining(
        phases=(Phase(planned[0], frozenset({HEAD})), Phase(planned[1], frozenset({BODY})))
    )
    assert trainer.fit(1, local_training).steps == sum(planned)


class Watch:
    """Notes the parameters before each step."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.seen: list[Tensors] = []

    def parameters(self) -> Tensors:
        return {name: p.detach().clone() for name, p in self.trainer.model.named_parameters()}

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        self.seen.append(self.parameters())
        return torch.zeros(())


def part(tensors: Tensors, head: bool) -> Tensors:
    return {name: value for name, value in tensors.items() if (name in HEADS) == head}


HEAVY = {"momentum": 0.9, "weight_decay": 0.1, "epochs": 4}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_nothing_moves_the_frozen_half(optimizer: str) -> None:
    arm = small_arm("fedrep", training={**HEAVY, "optimizer": optimizer}, fedrep={"head_epochs": 2})
    trainer = own_trainer(arm, "MRI")
    watch = Watch(trainer)
    local_training = arm.algorithm.local_training(NOWHERE, ClientState(), trainer)
    trainer.fit(1, replace(local_training, extra_loss=watch))
    # 12 images make batches of 8 and 4: four steps of the head, then four of the body.
    seen = [*watch.seen, watch.parameters()]
    assert len(seen) == 9
    assert all(same(part(now, head=False), part(seen[0], head=False)) for now in seen[:5])
    assert all(same(part(now, head=True), part(seen[4], head=True)) for now in seen[4:])
    for step, (one, other) in enumerate(pairwise(seen)):
        moved = part(one, head=step < 4), part(other, head=step < 4)
        assert not any(torch.equal(moved[0][name], moved[1][name]) for name in moved[0])


def test_a_correction_moves_the_frozen_half_no_more() -> None:
    # As under OmniFM or any frame that changes gradients: it sees those of the phase alone.
    trainer = line_trainer("a", [3.0], plain_sgd(0.1, momentum=0.9, weight_decay=0.1))
    local_training = FedRep().local_training(NOWHERE, ClientState(), trainer)
    names = []
    trainer.fit(
        1, replace(local_training, gradient_hook=lambda weights, gradients: names.append((*weights, *gradients)))
    )
    assert names == [(HEAD, HEAD), (BODY, BODY)]


def test_the_frozen_half_has_no_gradient() -> None:
    trainer = line_trainer("a", [3.0])
    flags: list[tuple[bool, bool]] = []

    def note(output: Output, batch: Batch) -> Tensor:
        parameters = dict(trainer.model.named_parameters())
        flags.append((parameters[HEAD].requires_grad, parameters[BODY].requires_grad))
        return torch.zeros(())

    trainer.fit(1, replace(FedRep().local_training(NOWHERE, ClientState(), trainer), extra_loss=note))
    assert flags == [(True, False), (False, True)]
    assert all(p.requires_grad for p in trainer.model.parameters())


@pytest.mark.parametrize("failing", [1, 2])
def test_all_can_be_trained_again_when_a_phase_failed(failing: int) -> None:
    trainer = line_trainer("a", [3.0])
    steps: list[int] = []

    def fail(output: Output, batch: Batch) -> Tensor:
        steps.append(1)
        return torch.tensor(float("nan") if len(steps) == failing else 0.0)

    with pytest.raises(NonFiniteLossError, match=f"batch {failing}"):
        trainer.fit(1, replace(FedRep().local_training(NOWHERE, ClientState(), trainer), extra_loss=fail))
    assert trainer.trainable.keys() == {HEAD, BODY}


def test_statistics_are_those_of_the_body_at_the_end() -> None:
    arm = small_arm("fedrep", training={"epochs": 2}, classification={"augment": False})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    trainer = own_trainer(arm, "CT-1")
    upload, after = arm.algorithm.client_update(broadcast, ClientState(), trainer)
    stem = trainer.model.network.backbone[0]
    # 24 images in three batches of eight: the mean of the means is the mean.
    expected = stem(trainer.client.train.column("image")).mean(dim=(0, 2, 3)).detach()
    name = "network.backbone.1.running_mean"
    torch.testing.assert_close(broadcast.shared[name] + upload.change[name], expected, rtol=1e-4, atol=1e-5)
    assert after.personal.keys() == HEADS


def test_normalisation_of_the_body_is_the_bodys_unless_it_is_personal() -> None:
    plans = []
    for norm in ("batch", "batch-personal"):
        arm = small_arm("fedrep", classification={"norm": norm})
        plans.append(arm.algorithm.local_training(NOWHERE, ClientState(), own_trainer(arm, "CT-1")).phases)
    (head, body), (own, shared) = plans
    assert head.names == HEADS
    norms = {name for name in body.names or () if "norm" in name or name.startswith("network.backbone.1.")}
    assert len(norms) == 2 * 7
    assert own.names == HEADS | norms
    assert shared.names == body.names - norms


# FedRep has no setting that makes it FedAvg or FedPer with a personal head. Nearest is one without a head of its own:
# then the local epochs but the head's, at least one, are FedAvg's.
@pytest.mark.parametrize(("epochs", "left"), [(1, 1), (3, 2)])
def test_without_a_head_it_is_fedavg(epochs: int, left: int) -> None:
    settings = {"rounds": 3, "participation": 0.67}
    one = small_arm("fedrep", fedrep={"personal": []}, training={"epochs": epochs}, federation=settings)
    other = small_arm("fedavg", training={"epochs": left}, federation=settings)
    assert same(played(one).server.shared, played(other).server.shared)


def test_with_everything_at_home_only_the_heads_phase_is_left() -> None:
    arm = small_arm("fedrep", fedrep={"personal": ["everything"], "head_epochs": 2})
    upload, after = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "MRI", ClientState())
    assert upload.change == {}
    assert after.personal.keys() == arm.runtime.initial.keys()


def first_round(arm: Arm) -> tuple[Broadcast, ClientState]:
    """Return the second broadcast, and the state of a client that took part in the first round."""
    upload, state = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
    return arm.algorithm.broadcast(arm.algorithm.server_update(arm.start().server, [upload])), state


def test_what_travels_and_what_stays() -> None:
    arm = small_arm("fedrep", training=HEAVY)
    second, state = first_round(arm)
    assert second.shared.keys() == arm.runtime.initial.keys() - HEADS
    assert state.personal.keys() == HEADS
    upload, after = arm.runtime.update(second, "CT-1", state)
    assert upload.change.keys() == second.shared.keys()
    assert not upload.extra
    assert not same(after.personal, arm.runtime.update(second, "CT-1", ClientState())[1].personal)


def test_a_dense_task() -> None:
    first, last = dense_rounds(FedRep())
    assert all_moved(first, last)
    assert last.clients["b"].personal.keys() == HEADS


def test_in_omnifm_the_adapter_is_trained_with_the_body() -> None:
    base: dict[str, Any] = {"base": "fedrep", "variant": "paper"}
    arm = small_arm("omnifm", omnifm=base, federation={"rounds": 2, "participation": 0.67})
    trainer = own_trainer(arm, "CT-1")
    head, body = arm.algorithm.base.local_training(NOWHERE, ClientState(), trainer).phases  # type: ignore[attr-defined]
    # The adapter belongs to the body, but for its suffix, which never leaves.
    assert head.names == HEADS | {"adapter.prompting.suffix"}
    assert head.names | body.names == set(trainer.trainable)
