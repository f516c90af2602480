"""Noised prototypes are sums over patients, each of whom moves them by at most one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from helpers import made_client, random_units, small_arm
from torch import Tensor

from omnifm.algorithms.private_prototypes import NoisedPrototypes, private_prototypes
from omnifm.data.subset import ClientData, Subset
from omnifm.spectral.bank import BankSettings
from omnifm.training.private import Release

BANK = random_units(4, 8)


@dataclass
class Told:
    """Adds no noise, but says that it is of this deviation; keeps what was summed."""

    width: float = 0.0
    due: bool = True
    sampling = 1.0
    patient_clip = 1.0
    patient_images = 0
    total: Tensor | None = None

    @property
    def prototypes_due(self) -> bool:
        return self.due

    def patients(self, release: Release, count: int) -> int:
        return count

    def drawn(self, count: int, *names: object) -> list[int]:
        return []

    def deviation(self, release: Release, reach: float) -> float:
        return self.width

    def noised(self, release: Release, total: Tensor, reach: float, *names: object) -> Tensor:
        assert release is Release.PROTOTYPES
        self.total = total
        return total


def found(told: Told, client: ClientData, bank: Tensor = BANK, **settings: Any) -> NoisedPrototypes:
    arm = small_arm("omnifm", classification={"norm": "group"}, privacy={"noise_multiplier": 1.0})
    runtime = replace(arm.runtime, clients={client.name: client})
    trainer = runtime._trainer(client.name, 1)
    assert trainer.model.adapter is not None
    trainer.model.adapter.use_bank(bank)
    return private_prototypes(trainer, told, 1, BankSettings(**{"prototypes": 4, "min_cluster": 2, **settings}))


def client(count: int = 12) -> ClientData:
    return made_client("CT-1", "CT", (0, 1), 1, train=count)


def test_without_noise_they_are_the_means() -> None:
    new = found(Told(), client(), torch.zeros(0, 8))
    assert new.tokens.shape == (1, 8)
    torch.testing.assert_close(new.tokens.norm(dim=1), torch.ones(1))
    assert 2 <= int(new.sizes[0]) <= 12
    assert not len(new.rows)
    with_bank = found(Told(), client())
    assert len(with_bank.tokens) <= 4
    assert int(with_bank.sizes.sum()) <= 12
    assert int(with_bank.counts.sum()) == 12, "of four entries, the one that each image is nearest to"


@pytest.mark.parametrize("bank", [BANK, torch.zeros(0, 8)], ids=["bank", "none"])
def test_one_patient_moves_the_sum_by_at_most_one(bank: Tensor) -> None:
    whole, less = Told(), Told()
    found(whole, client(), bank)
    without = client()
    found(
        less, replace(without, train=Subset(without.train.whole(), without.train.patients, torch.arange(1, 12))), bank
    )
    assert whole.total is not None
    assert less.total is not None
    assert 0 < float((whole.total - less.total).norm()) <= 1 + 1e-6


def test_a_patient_with_many_images_counts_once() -> None:
    one, told = client(), Told()
    found(told, replace(one, train=Subset(one.train.whole(), ("p",) * 12)))
    assert told.total is not None
    assert float(told.total.norm()) <= 1 + 1e-6


def test_what_is_mostly_noise_does_not_leave() -> None:
    new = found(Told(width=100.0), client())
    assert not len(new.tokens)
    assert not len(new.rows)
    assert not len(found(Told(due=False), client()).tokens)
