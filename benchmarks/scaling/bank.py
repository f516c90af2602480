"""Time the operations on a full bank of one capacity, on one thread; print one line of JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.algorithms.bank_upload import BankUpload, Refreshment
from omnifm.algorithms.retrieval_report import RetrievalReport
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes, retrieve
from omnifm.spectral.categorical import Categorical

DIM, NEIGHBOURS, BATCH = 64, 8, 32  # the defaults of adapter and training
CLIENTS, GROUPS, SAMPLED, OFFERED, IMAGES = 5000, 8, 50, 16, 200


def units(count: int) -> Tensor:
    """Return unit vectors."""
    return F.normalize(torch.randn(count, DIM), dim=1)


def full_bank(capacity: int) -> KnowledgeBank:
    """Return a bank at its capacity, its entries owned at random."""
    owner = torch.randint(CLIENTS, (capacity,))
    return KnowledgeBank(
        units(capacity),
        torch.full((capacity,), 5),
        torch.rand(capacity),
        torch.randint(10, (capacity,)),
        _labels(owner, "client"),
        _labels(owner % GROUPS, "group"),
    )


def _labels(codes: Tensor, what: str) -> Categorical:
    """Return a column whose names all occur."""
    occurring, codes = codes.unique(return_inverse=True)
    return Categorical(codes, tuple(f"{what}-{code}" for code in occurring.tolist()))


def offer(client: int, capacity: int) -> BankUpload:
    """Return a client's bank upload after an epoch over its images."""
    rows, counts = torch.randint(capacity, (IMAGES * NEIGHBOURS,)).unique(return_counts=True)
    new = Prototypes(f"client-{client}", f"group-{client % GROUPS}", units(OFFERED), torch.full((OFFERED,), 5))
    return BankUpload(new, rows, counts)


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of a call."""
    spent = []
    for _ in range(repeats + 1):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return 1000 * statistics.median(spent[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capacity", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = BankSettings(capacity=given.capacity)
    bank, tokens = full_bank(given.capacity), units(BATCH)
    offers = [offer(client, given.capacity) for client in range(SAMPLED)]
    merged = bank.merge([offer.prototypes for offer in offers], settings.merge_above)

    def one_round() -> None:
        refreshment, report = Refreshment(bank, settings), RetrievalReport(bank, CLIENTS)
        for offer in offers:
            refreshment.take(offer)
            report.take(offer)
        refreshment.result()

    figures = {
        "retrieve": milliseconds(lambda: retrieve(tokens, bank.tokens, NEIGHBOURS), given.repeats),
        "merge": milliseconds(
            lambda: bank.merge([offer.prototypes for offer in offers], settings.merge_above), given.repeats
        ),
        "prune": milliseconds(lambda: merged.prune(settings), given.repeats),
        "round": milliseconds(one_round, given.repeats),
        "down": bank.tokens.nbytes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
