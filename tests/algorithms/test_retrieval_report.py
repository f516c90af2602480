from __future__ import annotations

import json

import pytest
import torch
from helpers import random_units

from omnifm.algorithms.bank_upload import BankUpload
from omnifm.algorithms.retrieval_report import MOST_NAMED, RetrievalReport, drift
from omnifm.spectral.bank import KnowledgeBank, Prototypes


def prototypes(client: str, group: str, count: int = 1) -> Prototypes:
    return Prototypes(client, group, random_units(count, 4), torch.full((count,), 5))


def offered(client: str, group: str, retrieved: dict[int, int]) -> BankUpload:
    rows, counts = torch.tensor(list(retrieved)), torch.tensor(list(retrieved.values()))
    return BankUpload(prototypes(client, group), rows, counts)


def report(bank: KnowledgeBank, clients: int, *bank_uploads: BankUpload) -> dict[str, dict[str, int]]:
    made = RetrievalReport(bank, clients)
    for bank_upload in bank_uploads:
        made.take(bank_upload)
    found: dict[str, dict[str, int]] = made.result()["retrieved"]
    return found


BANK = KnowledgeBank.empty().merge([prototypes("a", "CT", 2), prototypes("b", "MRI", 1), prototypes("c", "CT", 1)], 2.0)
BANK_UPLOADS = offered("a", "CT", {0: 4, 1: 1, 2: 2}), offered("b", "MRI", {3: 7}), offered("c", "CT", {3: 5})


def test_it_tells_who_retrieved_whose() -> None:
    assert report(BANK, 3, *BANK_UPLOADS) == {"a": {"a": 5, "b": 2}, "b": {"c": 7}, "c": {"c": 5}}


def test_in_a_large_federation_it_tells_which_group_retrieved_whose() -> None:
    assert report(BANK, MOST_NAMED, *BANK_UPLOADS).keys() == {"a", "b", "c"}
    assert report(BANK, MOST_NAMED + 1, *BANK_UPLOADS) == {"CT": {"CT": 10, "MRI": 2}, "MRI": {"CT": 7}}


def test_a_round_in_which_nothing_was_retrieved() -> None:
    none = BankUpload(prototypes("a", "CT"), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert report(KnowledgeBank.empty(), 3, none) == {"a": {}}


def test_it_is_json() -> None:
    made = RetrievalReport(BANK, 3)
    made.take(BANK_UPLOADS[0])
    assert json.loads(json.dumps(made.result())) == made.result()
    assert made.result()["drift"] == {"a": pytest.approx(0.0, abs=1e-6)}


def test_drift_is_the_distance_from_the_nearest_own_entry() -> None:
    bank = KnowledgeBank.empty().merge([Prototypes("a", "CT", torch.eye(2), torch.tensor([5, 5]))], 2.0)
    new = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    assert drift(bank, Prototypes("a", "CT", new, torch.tensor([5, 5]))) == pytest.approx((0.2 + 0.0) / 2)
    assert drift(bank, Prototypes("b", "CT", new, torch.tensor([5, 5]))) is None
    assert drift(bank, Prototypes("a", "CT", new[:0], torch.zeros(0, dtype=torch.int64))) is None
