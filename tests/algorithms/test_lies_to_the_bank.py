"""How many liars the circles survive who flood the bank, or capture others by it: on tokens of two kinds of clients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from bank_lies import Prototyping, copies, directions, middles
from helpers import random_units
from torch import Tensor

from omnifm.algorithms.circle_evidence import RetrievalEvidence, Retrievals
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes, retrieve
from omnifm.spectral.kmeans import spherical_k_means

WIDTH, IMAGES, ROUNDS, NEIGHBOURS = 16, 48, 4, 8
HONEST = ["a1", "a2", "a3", "b1", "b2", "b3"]
CIRCLES = [["a1", "a2", "a3"], ["b1", "b2", "b3"]]


def tokens_of(kind: str, chance: torch.Generator) -> Tensor:
    """Return the tokens of a client's images, about a centre that is the same for all clients of a kind."""
    own = 0.025 * torch.randn(WIDTH, generator=chance)
    spread = 0.175 * torch.randn(IMAGES, WIDTH, generator=chance)
    return F.normalize(random_units(1, WIDTH, ord(kind)) + own + spread, dim=1)


def after(
    lie: Prototyping, liars: int, seed: int, about: str = "", settings: BankSettings | None = None
) -> tuple[list[list[str]], KnowledgeBank]:
    """Return circles and bank after some rounds.

    Liars say that they retrieve the entries of those whose names begin with ``about`` as often as their own.
    """
    settings, chance = settings or BankSettings(), torch.Generator().manual_seed(seed)
    tokens = {name: tokens_of(name[0], chance) for name in HONEST}
    evidence, bank = RetrievalEvidence.none([*HONEST, *names(liars)]), KnowledgeBank.empty()
    for number in range(ROUNDS):
        offers = [
            Prototypes(name, name[0], *spherical_k_means(own, settings.prototypes, chance))
            for name, own in tokens.items()
        ]
        if len(bank):
            told = [
                Retrievals(name, *retrieve(own, bank.tokens, NEIGHBOURS)[1].unique(return_counts=True))
                for name, own in tokens.items()
            ]
            owners = bank.clients.tolist()
            rows = [row for row, name in enumerate(owners) if name[0] != "x" and name.startswith(about)]
            for name in names(liars):
                made = lie(bank, torch.tensor(rows), IMAGES // settings.min_cluster, number, chance)
                offers.append(Prototypes(name, "x", made, torch.full((len(made),), settings.min_cluster)))
                both = torch.tensor([*rows, *bank.clients.rows_of(name).tolist()], dtype=torch.int64)
                told.append(Retrievals(name, both, torch.full((len(both),), IMAGES)))
            evidence = evidence.with_round(bank, told)
        bank = bank.grow_older(settings.frequency_decay).merge(offers, settings.merge_above).prune(settings)
    return evidence.groups({}), bank


def names(liars: int) -> list[str]:
    return [f"x{number}" for number in range(liars)]


def honest(circles: list[list[str]]) -> list[list[str]]:
    return [found for circle in circles if (found := [name for name in circle if name in HONEST])]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("liars", [0, 1, 4])
def test_any_number_may_flood_the_bank_with_directions_of_no_image(liars: int, seed: int) -> None:
    assert after(directions, liars, seed)[0] == CIRCLES


@pytest.mark.parametrize("liars", [1, 4])
def test_a_flood_gets_no_more_of_a_crowded_bank_than_the_floors(liars: int) -> None:
    settings = BankSettings(capacity=35)
    circles, bank = after(directions, liars, 0, settings=settings)
    assert circles == CIRCLES
    assert len(bank) == 35
    assert bank.groups.tolist().count("x") <= settings.floor + settings.client_floor * liars


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("liars", [1, 4])
def test_who_copies_a_circle_gets_into_it_and_divides_nobody(liars: int, seed: int) -> None:
    assert after(copies, liars, seed, about="a")[0] == [[*CIRCLES[0], *names(liars)], CIRCLES[1]]


@pytest.mark.parametrize("seed", range(3))
def test_three_copies_of_one_take_it_out_of_its_circle_and_one_does_not(seed: int) -> None:
    assert honest(after(copies, 1, seed, about="a1")[0]) == CIRCLES
    assert honest(after(copies, 3, seed, about="a1")[0]) == [["a1"], ["a2", "a3"], CIRCLES[1]]


@pytest.mark.parametrize("seed", range(3))
def test_two_in_the_middle_of_two_circles_unite_them_and_one_does_not(seed: int) -> None:
    assert honest(after(middles, 1, seed)[0]) == CIRCLES
    assert after(middles, 2, seed)[0] == [[*HONEST, *names(2)]]
