"""Circles of many clients, a few of whom take part in a round: spectral tokens are drawn, nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.algorithms.bank_upload import BankUpload, add_bank_upload
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.omnifm import OmniFM
from omnifm.core.records import ServerState, Upload
from omnifm.data.client_stats import ClientStats
from omnifm.federation.loop import sample
from omnifm.spectral.bank import BankSettings, Prototypes, retrieve
from omnifm.spectral.kmeans import spherical_k_means

DIM, IMAGES, NEIGHBOURS = 64, 80, 8


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Crowd:
    """Clients of several kinds. Images of a kind differ along three directions, its clients a little too."""

    def __init__(self, kinds: int, each: int) -> None:
        self.kind = {f"kind{kind}-{number}": kind for kind in range(kinds) for number in range(each)}
        places, directions = F.normalize(drawn(1, kinds, DIM), dim=1), F.normalize(drawn(2, 3, DIM), dim=1)
        self.tokens = {}
        for row, (name, kind) in enumerate(self.kind.items()):
            along = 0.3 * drawn(100 + row, IMAGES, 3) + 0.1 * drawn(10_000 + row, 3)
            self.tokens[name] = F.normalize(places[kind] + along @ directions, dim=1)
        self.algorithm = OmniFM(FedAvg(), BankSettings(), ("statistics",), ("backbone",), "bank")

    def rounds(self, count: int, participation: float) -> Iterator[ServerState]:
        """Yield the server's state after each round."""
        shared = {"backbone.w": torch.zeros(2), "head.w": torch.zeros(2)}
        stats = [ClientStats(name, "", IMAGES, 20, 20) for name in self.kind]
        state = self.algorithm.init(shared, shared, stats)
        for number in range(1, count + 1):
            names = sample(list(self.kind), participation, 0, number)
            state = self.algorithm.server_update(state, [self._upload(state, name) for name in names])
            yield state

    def _upload(self, state: ServerState, name: str) -> Upload:
        bank, tokens = self.algorithm.broadcast(state).extra["bank"], self.tokens[name]
        prototypes, sizes = spherical_k_means(tokens, 16, torch.Generator().manual_seed(state.round))
        rows = retrieve(tokens, bank, NEIGHBOURS)[1] if len(bank) else torch.zeros(0, dtype=torch.int64)
        asked, counts = torch.unique(rows, return_counts=True)
        change = {"head.w": torch.ones(2)}
        if self.algorithm.message(state, name):
            change["backbone.w"] = torch.ones(2)
        offer = BankUpload(Prototypes(name, "", prototypes, sizes), asked, counts)
        return add_bank_upload(Upload(name, IMAGES, 1.0, change), offer)

    def agreement(self, state: ServerState) -> float:
        """Return in how many pairs of clients it is right that they are, or are not, in one circle."""
        of = state.notes["circles"]["of"]
        together = [of.get(one, one) == of.get(other, other) for one, other in combinations(self.kind, 2)]
        alike = [self.kind[one] == self.kind[other] for one, other in combinations(self.kind, 2)]
        return float(np.mean(np.array(together) == np.array(alike)))


@pytest.mark.parametrize(("kinds", "each", "participation"), [(3, 3, 0.2), (3, 3, 1.0), (10, 5, 0.2), (10, 5, 1.0)])
def test_kinds_are_found(kinds: int, each: int, participation: float) -> None:
    crowd = Crowd(kinds, each)
    last = list(crowd.rounds(20 if participation == 1.0 else 40, participation))[-1]
    assert crowd.agreement(last) >= 0.95
    assert len(set(last.notes["circles"]["of"].values())) == kinds


@pytest.mark.parametrize("participation", [0.2, 1.0])
def test_where_no_two_are_alike_nobody_is_in_a_circle(participation: float) -> None:
    last = list(Crowd(12, 1).rounds(25, participation))[-1]
    assert last.notes["circles"]["of"] == {}


def test_a_federation_larger_than_its_bank_has_circles_and_memory_for_them_alone() -> None:
    crowd = Crowd(3, 90)  # 270 clients, and a bank of 256 entries
    last = list(crowd.rounds(8, 0.5))[-1]
    assert crowd.agreement(last) >= 0.95
    weights = [name for name in last.memory if name.startswith("circle.") and name.endswith("backbone.w")]
    assert len(weights) == 1 + len(set(last.notes["circles"]["of"].values()))
    assert last.memory["circle.retrieved"].shape[1] == BankSettings().capacity < len(crowd.kind)
