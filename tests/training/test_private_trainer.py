"""What one patient can change is bounded, and the noise is what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch
from helpers import made_client, plain_sgd, quadratic_trainer, small_arm
from torch import Tensor, nn

from omnifm.core.records import ClientState
from omnifm.data.subset import ClientData, Subset
from omnifm.training.patient_gradients import PatientBatch, PatientObjective
from omnifm.training.private import Release, rows_by_patient
from omnifm.training.private_trainer import steps_per_epoch
from omnifm.training.trainer import Trainer


@dataclass
class Scripted:
    """Draws everybody, adds a constant in place of noise, and keeps what it was given."""

    sampling: float = 1.0
    patient_clip: float = 1.0
    patient_images: int = 0
    prototypes_due: bool = True
    plus: float = 0.0
    sums: list[Tensor] = field(default_factory=list)

    def patients(self, release: Release, count: int) -> int:
        return count

    def drawn(self, count: int, *names: object) -> list[int]:
        return list(range(count))

    def deviation(self, release: Release, reach: float) -> float:
        return abs(self.plus)

    def noised(self, release: Release, total: Tensor, reach: float, *names: object) -> Tensor:
        self.sums.append(total.clone())
        return total + self.plus


def trained(private: Scripted, targets: Sequence[float], epochs: int = 1) -> Trainer:
    trainer = quadratic_trainer("a", targets, plain_sgd(0.5, epochs=epochs), private=private)
    trainer.fit(1)
    return trainer


def test_one_step_by_hand() -> None:
    # The weight is 0: gradients -0.25, -1 (clipped from -3) and 1 (from 9) sum up to -0.25; noise makes it 0.35.
    private = Scripted(plus=0.6)
    trainer = trained(private, [0.25, 3.0, -9.0])
    assert private.sums[0].item() == pytest.approx(-0.25)
    assert trainer.tensors()["network.weight"].item() == pytest.approx(-0.5 * 0.35 / 3)
    assert trainer.last_fit is not None
    assert (trainer.last_fit.samples, trainer.last_fit.steps, trainer.last_fit.loss) == (3, 1, None)


def test_the_sum_is_divided_by_the_expected_number_of_patients() -> None:
    private = Scripted(sampling=0.5)
    assert trained(private, [1.0, 1.0]).tensors()["network.weight"].item() == pytest.approx(0.5 * 2 / 1 * 0.5 + 0.5)
    assert len(private.sums) == 2 == steps_per_epoch(0.5)
    assert [steps_per_epoch(one) for one in (1.0, 0.1, 0.3)] == [1, 10, 4]


def test_a_patient_counts_once_with_the_mean_of_its_images() -> None:
    trainer = quadratic_trainer("a", [0.2, 0.4, 0.9], plain_sgd(0.5), private=(private := Scripted()))
    fields = trainer.client.train.whole()
    train = Subset(fields, ("one", "two", "one"))
    trainer.client = replace(trainer.client, train=train)
    assert [rows.tolist() for rows in rows_by_patient(train)] == [[0, 2], [1]]
    trainer.fit(1)
    assert private.sums[0].item() == pytest.approx(-0.55 - 0.4)


def test_a_gradient_that_is_not_finite_counts_as_none() -> None:
    private = Scripted()
    trained(private, [0.5, float("nan"), float("inf")])
    assert private.sums[0].item() == pytest.approx(-0.5)


def sums(client: ClientData, algorithm: str, images: int = 0) -> Tensor:
    arm = small_arm(algorithm, classification={"norm": "group", "augment": True}, privacy={"noise_multiplier": 1.0})
    private = Scripted(patient_images=images)
    runtime = replace(arm.runtime, clients={client.name: client})
    trainer = runtime._trainer(client.name, 1, private)  # type: ignore[arg-type]
    arm.algorithm.client_update(arm.algorithm.broadcast(arm.start().server), ClientState(), trainer)
    return private.sums[0]


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm"])
def test_without_a_patient_the_sum_moves_by_what_is_clipped(algorithm: str) -> None:
    """Also if it is the first: the random numbers of the others' augmentation stay theirs."""
    client = made_client("CT-1", "CT", (0, 1), 1, train=6)
    whole = sums(client, algorithm)
    rest = Subset(client.train.whole(), client.train.patients, torch.arange(1, 6))
    less = sums(replace(client, train=rest), algorithm)
    moved = float((whole - less).norm())
    assert 0 < moved <= 1 + 1e-4


def test_many_images_of_a_patient_are_bounded() -> None:
    client = made_client("CT-1", "CT", (0, 1), 1, train=6)
    one = replace(client, train=Subset(client.train.whole(), ("p",) * 6))
    assert not torch.equal(sums(one, "fedavg"), sums(one, "fedavg", images=2))
    assert float(sums(one, "fedavg", images=2).norm()) <= 1 + 1e-4


class Dropping(nn.Module):
    """Passes images on, with a part left out at random."""

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(image, 0.5, training=True)


def test_together_or_one_by_one_the_gradients_are_the_same() -> None:
    arm = small_arm("moon", classification={"norm": "group"}, privacy={"noise_multiplier": 1.0})
    trainer = arm.runtime._trainer("CT-1", 1)
    train = trainer.task.setup_client(trainer.client.train)
    batches = [trainer.task.prepare_batch(train.batch(torch.tensor([row]))) for row in range(3)]
    patients = [PatientBatch(batch, 7) for batch in batches]
    weights = dict(trainer.trainable)
    together, alone = PatientObjective(trainer, ()), PatientObjective(trainer, ())
    alone._together = False
    (many,), (single,) = (list(one.gradients(dict(weights), patients)) for one in (together, alone))
    assert together._together
    torch.testing.assert_close(many, single, atol=1e-5, rtol=1e-4)


def test_a_network_that_draws_at_random_goes_one_by_one() -> None:
    trainer = quadratic_trainer("a", [1.0, 2.0])
    network = trainer.model.network
    encode = network.encode
    network.encode = lambda batch: encode({**batch, "image": Dropping()(batch["image"])})  # type: ignore[method-assign]
    objective = PatientObjective(trainer, ())
    patients = [PatientBatch(trainer.client.train.batch(torch.tensor([row])), row) for row in range(2)]
    (found,) = objective.gradients(dict(trainer.trainable), patients)
    assert not objective._together
    assert found.flatten().tolist() == [-1.0, -2.0]
