from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from helpers import plain_sgd, quadratic_trainer, same, small_arm
from made_tasks import all_moved, dense_rounds, own_trainer, played
from torch import Tensor

from omnifm.algorithms.moon import Moon, Projection
from omnifm.core.records import Broadcast, ClientState
from omnifm.core.tensors import Tensors
from omnifm.data.subset import Batch
from omnifm.runs.arm import Arm
from omnifm.tasks.task import Encoded, TaskNetwork
from omnifm.training.model import FederatedModel, Output
from omnifm.training.trainer import Trainer


class Plain(TaskNetwork):
    """Its features are the image's own two channels."""

    width = 2

    def encode(self, batch: Batch) -> Encoded:
        return Encoded(batch["image"].flatten(2).transpose(1, 2))


def plain_trainer() -> tuple[Trainer, Tensors]:
    """Return a trainer whose projection is the identity on features >= 0, and the tensors of one that turns round."""
    made = quadratic_trainer("a", [0.0], plain_sgd())
    model = FederatedModel(Plain(), None, Projection(2, 2))
    trainer = Trainer(model, made.task, made.client, made.settings, frozenset(), made.seed)
    eye, zero = torch.eye(2), torch.zeros(2)
    names = [f"companion.project.{layer}." for layer in (0, 2)]
    trainer.load({f"{n}weight": eye for n in names} | {f"{n}bias": zero for n in names})
    return trainer, {**trainer.tensors(), "companion.project.2.weight": -eye}


def contrast(z: Sequence[Sequence[float]], received: Sequence[Sequence[float]], moon: Moon) -> Tensor:
    """Return the term for features z where the received model sees ``received`` and the last one its opposite."""
    trainer, last = plain_trainer()
    term = moon.local_training(Broadcast(2, {}), ClientState(memory=last), trainer).extra_loss
    assert term is not None
    image = torch.tensor(received)[:, :, None, None]
    return term(Output(torch.zeros(len(z)), torch.tensor(z)[:, None], None), {"image": image})


def log1p_exp(x: float) -> float:
    return math.log1p(math.exp(x))


# With z_prev = -z_glob and c = cos(z, z_glob) the term is
# -log(e^(c/T) / (e^(c/T) + e^(-c/T))) = log(1 + e^(-2c/T)).
@pytest.mark.parametrize(
    ("z", "received", "temperature", "expected"),
    [
        ((1.0, 0.0), (1.0, 0.0), 0.5, log1p_exp(-4.0)),
        ((5.0, 0.0), (0.1, 0.0), 2.0, log1p_exp(-1.0)),
        ((0.0, 1.0), (1.0, 0.0), 0.5, math.log(2)),
        ((3.0, 4.0), (1.0, 0.0), 0.5, log1p_exp(-2.4)),
    ],
)
def test_the_term_by_hand(z: Any, received: Any, temperature: float, expected: float) -> None:
    assert contrast([z], [received], Moon(temperature=temperature)).item() == pytest.approx(expected, rel=1e-5)


def test_the_term_is_a_mean_over_the_batch_times_mu() -> None:
    found = contrast([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], Moon(mu=3.0))
    assert found.item() == pytest.approx(3 * (log1p_exp(-4.0) + math.log(2)) / 2, rel=1e-5)


def test_the_feature_is_the_mean_of_the_tokens() -> None:
    trainer, last = plain_trainer()
    term = Moon().local_training(Broadcast(2, {}), ClientState(memory=last), trainer).extra_loss
    assert term is not None
    # Tokens (6, 0) and (0, 8) have the mean (3, 4); the image's two positions (2, 0) and (0, 0) the mean (1, 0).
    tokens = torch.tensor([[[6.0, 0.0], [0.0, 8.0]]])
    image = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
    assert term(Output(torch.zeros(1), tokens, None), {"image": image}).item() == pytest.approx(log1p_exp(-2.4))


def test_its_gradient_draws_z_to_the_received_model() -> None:
    trainer, last = plain_trainer()
    term = Moon().local_training(Broadcast(2, {}), ClientState(memory=last), trainer).extra_loss
    assert term is not None
    z = torch.tensor([[[3.0, 4.0]]], requires_grad=True)
    term(Output(torch.zeros(1), z, None), {"image": torch.tensor([1.0, 0.0])[None, :, None, None]}).backward()
    assert z.grad is not None
    # d/dc log(1 + e^(-4c)) = -4 / (1 + e^(4c)), at c = 0.6; dc/dz = (e - c z/|z|) / |z| = (0.64, -0.48) / 5.
    slope = -4 / (1 + math.exp(2.4))
    assert z.grad.flatten().tolist() == pytest.approx([slope * 0.64 / 5, slope * -0.48 / 5], rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"participation": 0.67}], ids=["all", "some"])
def test_without_mu_it_is_fedavg(settings: dict[str, Any]) -> None:
    arms = [small_arm(n, moon={"mu": 0}, federation={"rounds": 3, **settings}) for n in ("moon", "fedavg")]
    moon, fedavg = (played(arm).server.shared for arm in arms)
    assert same({name: moon[name] for name in fedavg}, fedavg)
    assert {name.split(".")[0] for name in moon.keys() - fedavg.keys()} == {"companion"}
    assert not same(fedavg, arms[1].start().server.shared)


def two_rounds(arm: Arm, name: str) -> tuple[Broadcast, ClientState, Broadcast, Trainer, list[FederatedModel]]:
    """Let all take part in round 1; return this broadcast and state, and for the second also what MOON froze."""
    first = arm.algorithm.broadcast(arm.start().server)
    done = {client: arm.runtime.update(first, client, ClientState()) for client in arm.participants}
    server = arm.algorithm.server_update(arm.start().server, [upload for upload, _ in done.values()])
    second = arm.algorithm.broadcast(server)
    trainer, state = own_trainer(arm, name, 2), done[name][1]
    return first, state, second, trainer, watched(trainer)


def watched(trainer: Trainer) -> list[FederatedModel]:
    """Return a list into which all models go that this trainer freezes."""
    made: list[FederatedModel] = []

    def frozen() -> FederatedModel:
        made.append(Trainer.frozen(trainer))
        return made[-1]

    trainer.frozen = frozen  # type: ignore[method-assign]
    return made


def test_a_first_round_has_no_term() -> None:
    arm = small_arm("moon")
    trainer = own_trainer(arm, "MRI")
    made = watched(trainer)
    broadcast = arm.algorithm.broadcast(arm.start().server)
    local_training = arm.algorithm.local_training(broadcast, ClientState(), trainer)
    assert local_training.extra_loss is None
    assert made == []
    upload, after = arm.algorithm.client_update(broadcast, ClientState(), trainer)
    # Nothing reached the projection.
    assert all(not upload.change[name].any() for name in upload.change if name.startswith("companion."))
    assert after.memory.keys() == arm.runtime.initial.keys()


def test_what_travels_and_what_stays() -> None:
    arm = small_arm("moon", moon={"projection": 5})
    broadcast, state, *_ = two_rounds(arm, "CT-1")
    upload, _ = arm.runtime.update(broadcast, "CT-1", ClientState())
    assert upload.change.keys() == broadcast.shared.keys() == arm.runtime.initial.keys()
    assert "companion.project.2.weight" in upload.change
    assert upload.change["companion.project.2.weight"].shape == (5, 32)
    assert (upload.extra, broadcast.extra) == ({}, {})
    assert state.personal == {}
    for name, value in state.memory.items():
        trained = upload.change[name] + (broadcast.shared[name] if value.is_floating_point() else 0)
        torch.testing.assert_close(value, trained)


def test_what_is_frozen_stays_frozen() -> None:
    arm = small_arm("moon")
    _, state, second, trainer, made = two_rounds(arm, "CT-2")
    modes: list[bool] = []

    def noting(output: Output, batch: Batch) -> Tensor:
        modes.extend(module.training for model in made for module in model.modules())
        return arm_term(output, batch)

    arm.algorithm.receive(second, state, trainer)
    local_training = arm.algorithm.local_training(second, state, trainer)
    assert local_training.extra_loss is not None
    arm_term = local_training.extra_loss
    received, last = made
    before = [{n: v.clone() for n, v in model.state_dict().items()} for model in made]
    assert sum("running_mean" in name for name in before[0]) == 7
    trainer.fit(2, type(local_training)(extra_loss=noting))
    assert len(modes) > 0
    assert not any(modes)
    for model, tensors in zip((received, last), before, strict=True):
        assert same(dict(model.state_dict()), tensors)
        assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in trainer.model.parameters())
    assert not same(before[0], trainer.tensors())


def test_no_gradient_goes_through_the_frozen_models() -> None:
    arm = small_arm("moon")
    _, state, second, trainer, _ = two_rounds(arm, "CT-2")
    arm.algorithm.receive(second, state, trainer)
    term = arm.algorithm.local_training(second, state, trainer).extra_loss
    assert term is not None
    batch = trainer.client.train.batch(torch.arange(4))
    # Of features that are no function of the weights, only the projection of z itself has a gradient: with the
    # features at 0 there is none for its first weights, whatever the image that the others see.
    features = torch.zeros(4, 1, 32)
    trainer.model.zero_grad()
    term(Output(torch.zeros(4), features, None), batch).backward()
    grads = {name: p.grad for name, p in trainer.model.named_parameters()}
    assert {name for name, grad in grads.items() if grad is not None} == {
        f"companion.project.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }
    assert not grads["companion.project.0.weight"].any()
    assert grads["companion.project.2.bias"].any()


def test_the_models_are_those_received_and_last_with_the_clients_own_parts() -> None:
    arm = small_arm("moon", federation={"personal": ["head"]})
    _, state, second, trainer, made = two_rounds(arm, "CT-1")
    assert state.personal.keys() == {"network.head.weight", "network.head.bias"}
    arm.algorithm.client_update(second, state, trainer)
    received, last = (dict(model.state_dict()) for model in made)
    assert same(received, {**arm.runtime.initial, **second.shared, **state.personal})
    assert same(last, state.memory)
    assert not same(received, last)


def test_the_last_model_is_that_of_the_last_round_taken_part_in() -> None:
    arm = small_arm("moon")
    _, state, second, _, _ = two_rounds(arm, "MRI")
    uploads = [arm.runtime.update(second, name, ClientState())[0] for name in ("CT-1", "CT-2")]
    server = arm.algorithm.server_update(arm.start().server, uploads)
    third = arm.algorithm.broadcast(server)
    trainer = own_trainer(arm, "MRI", 3)
    made = watched(trainer)
    _, after = arm.algorithm.client_update(third, state, trainer)
    assert same(dict(made[1].state_dict()), state.memory)
    assert same(after.memory, trainer.tensors())


def test_the_term_changes_the_second_round() -> None:
    ends = [played(small_arm("moon", moon={"mu": mu})).server.shared for mu in (0.0, 1.0)]
    weight = "network.backbone.0.weight"
    assert not torch.equal(ends[0][weight], ends[1][weight])


def test_a_dense_task() -> None:
    first, last = dense_rounds(Moon(projection=6))
    assert all_moved(first, last)
    assert "companion.project.0.weight" in last.server.shared
