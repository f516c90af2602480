"""Which entries of the bank a client retrieves from: ``retrieve = all | own | others | random``."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from helpers import random_units, small_arm
from made_tasks import own_trainer, played
from torch import Tensor

from omnifm.algorithms.bank_broadcast import Retrieval, bank_to_state, retrievable
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.records import Broadcast, ClientState, ServerState
from omnifm.runs.arm import Arm
from omnifm.spectral.bank import KnowledgeBank, Prototypes
from omnifm.utils.errors import ExperimentError

MODES = get_args(Retrieval)
OWNERS = ["MRI", "CT-1", "CT-1", "CT-2", "MRI", "CT-1", "CT-2"]
ENTRIES = random_units(7, 8)
ROWS = {"all": [0, 1, 2, 3, 4, 5, 6], "own": [1, 2, 5], "others": [0, 3, 4, 6], "random": [0, 1, 2, 3, 4, 5, 6]}


def arm_of(retrieve: str) -> Arm:
    return small_arm("omnifm", omnifm={"retrieve": retrieve, "variant": "paper"}, adapter={"neighbours": 2})


def sent(arm: Arm, entries: Tensor = ENTRIES, number: int = 0) -> Broadcast:
    """Return the broadcast of a server whose bank holds these entries."""
    bank = KnowledgeBank.empty()
    for owner, token in zip(OWNERS, entries, strict=False):
        bank = bank.merge([Prototypes(owner, owner, token[None], torch.tensor([5]))], 2.0)
    assert torch.equal(bank.tokens, entries)
    memory, notes = bank_to_state(bank)
    state = arm.start().server
    return arm.algorithm.broadcast(ServerState(state.shared, number, {**state.memory, **memory}, notes))


@pytest.mark.parametrize("retrieve", MODES)
def test_what_is_retrieved(retrieve: str) -> None:
    arm = arm_of(retrieve)
    trainer = own_trainer(arm, "CT-1")
    arm.algorithm.receive(sent(arm), ClientState(), trainer)
    assert trainer.model.adapter is not None
    bank = trainer.model.adapter.bank
    if retrieve == "random":
        assert bank.shape == ENTRIES.shape
        assert not (bank @ ENTRIES.T > 0.99).any()
    else:
        assert torch.equal(bank, ENTRIES[ROWS[retrieve]])


@pytest.mark.parametrize("retrieve", MODES)
def test_counts_are_of_the_rows_of_the_whole_bank(retrieve: str) -> None:
    arm = arm_of(retrieve)
    trainer = own_trainer(arm, "CT-1")
    seen = TokenCollector()
    with trainer.with_hooks(seen.hooks):
        upload, _ = arm.algorithm.client_update(sent(arm), ClientState(), trainer)
    rows, counts = upload.extra["bank/rows"].tolist(), upload.extra["bank/counts"].tolist()
    # Each of the 24 images retrieves two entries; of so few, the nearest is counted.
    assert seen.rows.shape == (24, 2)
    assert sum(counts) == 24
    assert dict(zip(rows, counts, strict=True)) == {
        row: count for place, row in enumerate(ROWS[retrieve]) if (count := int((seen.rows[:, 0] == place).sum()))
    }


def test_a_client_learns_otherwise_from_each() -> None:
    weight = "network.head.weight"
    changes = []
    for retrieve in MODES:
        arm = arm_of(retrieve)
        changes.append(arm.runtime.update(sent(arm), "CT-1", ClientState())[0].change[weight])
    assert all(not torch.equal(one, other) for at, one in enumerate(changes) for other in changes[at + 1 :])


@pytest.mark.parametrize("retrieve", MODES)
def test_owners_are_sent_only_to_tell_own_from_others(retrieve: str) -> None:
    arm = arm_of(retrieve)
    broadcast = sent(arm)
    assert ("owners" in broadcast.extra) == ("owners" in broadcast.notes) == (retrieve in ("own", "others"))
    assert torch.equal(broadcast.extra["bank"], ENTRIES)
    # What arrives over a wire serves as well.
    entries, rows = retrievable(Broadcast.from_bytes(broadcast.to_bytes()), "CT-1", retrieve)  # type: ignore[arg-type]
    assert rows.tolist() == ROWS[retrieve]
    assert entries.shape == (len(rows), 8)


@pytest.mark.parametrize(("retrieve", "rows"), [("own", []), ("others", [0, 1, 2, 3, 4, 5, 6])])
def test_a_client_that_has_none_in_the_bank(retrieve: str, rows: list[int]) -> None:
    broadcast = sent(arm_of(retrieve))
    entries, found = retrievable(broadcast, "new", retrieve)  # type: ignore[arg-type]
    assert found.tolist() == rows
    assert torch.equal(entries, ENTRIES[rows])


def test_without_an_own_entry_the_images_own_token_serves() -> None:
    arm = arm_of("own")
    empty = sent(arm, ENTRIES[:1])  # MRI's
    trainer = own_trainer(arm, "CT-1")
    upload, _ = arm.algorithm.client_update(empty, ClientState(), trainer)
    assert upload.extra["bank/rows"].tolist() == upload.extra["bank/counts"].tolist() == []
    assert trainer.model.adapter is not None
    assert len(trainer.model.adapter.bank) == 0


def random_of(entries: Tensor, client: str, number: int) -> Tensor:
    return retrievable(Broadcast(number, {}, {"bank": entries}), client, "random")[0]


def test_random_vectors_are_fixed_of_norm_one_and_as_many_as_the_bank_has() -> None:
    first = random_of(ENTRIES, "CT-1", 1)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(7))
    assert first.dtype == ENTRIES.dtype
    assert torch.equal(first, random_of(-ENTRIES, "MRI", 9))
    # When the bank grows or shrinks, those that there were stay.
    assert torch.equal(random_of(random_units(9, 8), "CT-1", 2)[:7], first)
    assert torch.equal(random_of(ENTRIES[:3], "CT-1", 2), first[:3])
    assert random_of(ENTRIES[:0], "CT-1", 1).shape == (0, 8)
    assert torch.linalg.matrix_rank(first) == 7


def test_random_vectors_do_not_hang_on_the_seed_of_the_weights() -> None:
    torch.manual_seed(1)
    one = random_of(ENTRIES, "CT-1", 1)
    torch.manual_seed(2)
    assert torch.equal(one, random_of(ENTRIES, "CT-1", 1))


@pytest.mark.parametrize("retrieve", MODES)
def test_rounds_from_an_empty_bank(retrieve: str) -> None:
    last = played(arm_of(retrieve))
    report = last.server.notes["report"]
    assert report["bank_entries"] > 0
    assert report["retrieved"].keys() == {"CT-1", "CT-2", "MRI"}
    for client, row in report["retrieved"].items():
        of_own = row.get(client, 0)
        of_others = sum(row.values()) - of_own
        # Each image retrieves two entries, or the client's only one; of a bank of eight or more, two are counted.
        samples = {"CT-1": 24, "CT-2": 18, "MRI": 12}[client]
        assert of_own + of_others in (samples, 2 * samples)
        assert of_others == 0 or retrieve != "own"
        assert of_own == 0 or retrieve != "others"


def test_an_unknown_way_to_retrieve() -> None:
    with pytest.raises(ExperimentError, match=r"omnifm\.retrieve"):
        arm_of("mine")


@pytest.mark.parametrize("retrieve", [mode for mode in MODES if mode != "all"])
def test_retrievals_that_show_nobody_form_no_circles(retrieve: str) -> None:
    with pytest.raises(ExperimentError, match=r"does not show who is like whom.* set omnifm\.circles"):
        small_arm("omnifm", omnifm={"retrieve": retrieve})
    assert small_arm("omnifm", omnifm={"retrieve": retrieve, "circles": "group"})


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ExperimentError, match=r"adapter\.heads = 5 does not divide the width .*, \d+: choose"):
        small_arm("omnifm", adapter={"heads": 5})
