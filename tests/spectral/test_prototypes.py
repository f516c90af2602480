from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import random_units

from omnifm.spectral.bank import BankSettings, counted_of
from omnifm.spectral.prototypes import fixed_prototypes, rounded

SETTINGS = BankSettings(prototypes=6, min_cluster=5)


def test_the_same_keys_give_the_same_prototypes() -> None:
    keys = random_units(60, 16)
    (one, sizes), (two, again) = fixed_prototypes(keys, SETTINGS), fixed_prototypes(keys, SETTINGS)
    assert torch.equal(one, two)
    assert torch.equal(sizes, again)
    assert int(sizes.min()) >= 5


def test_they_are_rounded_unless_told_otherwise() -> None:
    keys = random_units(60, 16)
    exact, _ = fixed_prototypes(keys, replace(SETTINGS, rounded=False))
    coarse, _ = fixed_prototypes(keys, SETTINGS)
    assert torch.equal(coarse, rounded(exact))
    assert not torch.equal(coarse, exact)


def test_patients_count_and_not_images() -> None:
    keys, patients = random_units(60, 16), torch.arange(60) // 15
    assert not len(fixed_prototypes(keys, SETTINGS, patients)[0])


@pytest.mark.parametrize("dim", [1, 3, 16, 64, 65])
def test_rounding_leaves_few_levels_and_the_direction(dim: int) -> None:
    tokens = random_units(50, dim)
    coarse = rounded(tokens)
    torch.testing.assert_close(coarse.norm(dim=1), torch.ones(50))
    assert float((coarse * tokens).sum(dim=1).min()) > 0.8
    assert len(torch.unique(coarse[0].abs().round(decimals=5))) <= 6
    assert torch.equal(rounded(-tokens), -coarse)


def test_no_vector_of_norm_1_is_rounded_to_nothing() -> None:
    even = torch.full((1, 64), 1 / 8)
    torch.testing.assert_close(rounded(even), even)


def test_a_small_change_mostly_leaves_no_trace() -> None:
    """Who adds one patient to eleven moves a mean by about so much."""
    tokens = random_units(200, 64)
    moved = torch.nn.functional.normalize(tokens + 0.02 * random_units(200, 64, seed=1), dim=1)
    same_components = (rounded(tokens).sign() == rounded(moved).sign()).float().mean()
    assert float(same_components) > 0.98


@pytest.mark.parametrize(("entries", "number"), [(0, 1), (3, 1), (8, 2), (20, 5), (35, 8), (250, 8)])
def test_at_most_a_quarter_of_a_bank_is_counted(entries: int, number: int) -> None:
    assert counted_of(entries, 8) == number
