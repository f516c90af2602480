from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import made_holdings, random_units, same, small_arm
from torch import Tensor

from omnifm.algorithms.bank_broadcast import bank_from_state, bank_to_state
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.omnifm import OmniFM
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.runs.arm import Arm
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes, retrieve
from omnifm.training.trainer import Trainer

NEIGHBOURS = 3


def trainer_of(arm: Arm, name: str) -> Trainer:
    runtime = arm.runtime
    trainer = Trainer(
        runtime.model, runtime.task, runtime.clients[name], runtime.training, runtime.personal, runtime.seed
    )
    trainer.load(runtime.initial)
    return trainer


def filled(state: ServerState, tokens: Tensor, client: str = "CT-1") -> ServerState:
    """Return the server's state with these tokens of one client in the bank."""
    bank_upload = Prototypes(client, "CT", tokens, torch.full((len(tokens),), 5))
    memory, notes = bank_to_state(KnowledgeBank.empty().merge([bank_upload], 2.0))
    return ServerState(state.shared, state.round, {**state.memory, **memory}, {**state.notes, **notes, "report": {}})


BANK = random_units(7, 8)


@pytest.fixture(scope="module")
def arm() -> Arm:
    return small_arm("omnifm")


@pytest.fixture(scope="module")
def uploads(arm: Arm) -> list[Upload]:
    """What the clients send in a round in which the bank holds seven entries."""
    broadcast = arm.algorithm.broadcast(filled(arm.start().server, BANK))
    return [arm.runtime.update(broadcast, name, ClientState())[0] for name in arm.participants]


def test_the_network_has_the_adapter(arm: Arm) -> None:
    assert arm.runtime.model.adapter is not None


def test_the_broadcast_brings_weights_and_bank(arm: Arm) -> None:
    sent = arm.algorithm.broadcast(filled(arm.start().server, BANK))
    assert sent.extra.keys() == {"bank"}
    assert torch.equal(sent.extra["bank"], BANK)
    assert same(sent.shared, arm.start().server.shared)


def test_the_bank_starts_empty(arm: Arm) -> None:
    assert len(arm.algorithm.broadcast(arm.start().server).extra["bank"]) == 0


def test_no_more_prototypes_than_asked_each_over_enough_samples(arm: Arm, uploads: list[Upload]) -> None:
    settings = arm.experiment.bank
    for upload in uploads:
        tokens, sizes = upload.extra["bank/prototypes"], upload.extra["bank/sizes"]
        assert 1 <= len(tokens) == len(sizes) <= settings.prototypes
        assert int(sizes.min()) >= settings.min_cluster
        assert int(sizes.sum()) == upload.samples == len(arm.runtime.clients[upload.client].train)
        torch.testing.assert_close(tokens.norm(dim=1), torch.ones(len(tokens)))


def test_nothing_else_is_uploaded(uploads: list[Upload]) -> None:
    for upload in uploads:
        assert upload.extra.keys() == {"bank/prototypes", "bank/sizes", "bank/rows", "bank/counts"}


def test_a_client_with_few_images_offers_no_prototype() -> None:
    arm = small_arm("omnifm", bank={"min_cluster": 13})
    upload, _ = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "MRI", ClientState())
    assert upload.extra["bank/prototypes"].shape == (0, 8)


def test_the_suffix_never_leaves(arm: Arm, uploads: list[Upload]) -> None:
    broadcast = arm.algorithm.broadcast(arm.start().server)
    upload, state = arm.runtime.update(broadcast, "CT-1", ClientState())
    personal = [name for name in arm.runtime.initial if "suffix" in name]
    assert personal == list(state.personal)
    sent = [broadcast.pack()[0], upload.pack()[0], *(u.pack()[0] for u in uploads)]
    assert not [name for tensors in sent for name in tensors if "suffix" in name]


def test_the_suffix_is_trained_and_comes_back(arm: Arm) -> None:
    first = arm.algorithm.broadcast(arm.start().server)
    upload, one = arm.runtime.update(first, "CT-1", ClientState())
    second = arm.algorithm.broadcast(arm.algorithm.server_update(arm.start().server, [upload]))
    trainer = trainer_of(arm, "CT-1")
    arm.algorithm.receive(second, one, trainer)
    assert same(trainer.tensors(shared=False), one.personal)
    _, two = arm.runtime.update(second, "CT-1", one)
    assert not same(one.personal, two.personal)


def test_retrieval_counts_add_up(uploads: list[Upload]) -> None:
    for upload in uploads:
        rows, counts = upload.extra["bank/rows"], upload.extra["bank/counts"]
        assert set(rows.tolist()) <= set(range(len(BANK)))
        assert int(counts.min()) > 0
        assert int(counts.sum()) == upload.samples, "of seven entries, the nearest is counted"


@pytest.mark.parametrize("keys", ["fixed", "learned"])
def test_only_prototypes_of_fixed_keys_are_the_same_in_every_round_and_run(keys: str) -> None:
    arm = small_arm("omnifm", omnifm={}, adapter={"keys": keys})
    first = arm.algorithm.broadcast(arm.start().server)
    elsewhere = replace(arm.runtime, seed=arm.runtime.seed + 1)
    one, _ = arm.runtime.update(first, "CT-1", ClientState())
    two, _ = elsewhere.update(replace(first, round=7), "CT-1", ClientState())
    assert not same(one.change, two.change), "the round and the seed decide how it trains"
    assert torch.equal(one.extra["bank/prototypes"], two.extra["bank/prototypes"]) == (keys == "fixed")


def test_server_side_retrieval_gives_the_same_prototypes(arm: Arm) -> None:
    server = filled(arm.start().server, BANK)
    trainer = trainer_of(arm, "CT-1")
    arm.algorithm.receive(arm.algorithm.broadcast(server), ClientState(), trainer)
    (_, output), *_ = trainer.predict(trainer.client.train)
    assert output.adapter is not None
    at_server = bank_from_state(server.memory, server.notes).tokens
    _, rows = retrieve(output.adapter.keys, at_server, NEIGHBOURS)
    assert torch.equal(output.adapter.retrieved, rows)


def quiet(extra: dict[str, Tensor], client: str, group: str) -> Upload:
    return Upload(client, 10, 0.0, {"w": torch.ones(1)}, extra, {"group": group})


def bank_upload(tokens: Tensor, retrieved: list[int]) -> dict[str, Tensor]:
    return {
        "bank/prototypes": tokens,
        "bank/sizes": torch.full((len(tokens),), 6),
        "bank/rows": torch.arange(len(retrieved), dtype=torch.int32),
        "bank/counts": torch.tensor(retrieved, dtype=torch.int32),
    }


def test_the_server_fades_credits_merges_and_prunes() -> None:
    settings = BankSettings(capacity=3, floor=1, age_limit=5, merge_above=0.9, frequency_decay=0.5)
    algorithm = OmniFM(FedAvg(), settings)
    x, y, z, w = torch.eye(4)[:, None]
    state = algorithm.init({"w": torch.zeros(1)}, ["w"], made_holdings(2))
    state = algorithm.server_update(
        state, [quiet(bank_upload(torch.cat([x, y]), []), "a", "CT"), quiet(bank_upload(z, []), "b", "MRI")]
    )
    state = algorithm.server_update(
        state, [quiet(bank_upload(x, [4, 0, 2]), "a", "CT"), quiet(bank_upload(w, [2, 3, 0]), "b", "MRI")]
    )
    # Frequencies 6, 3, 2 and, for the new one, 0: it has to go.
    bank = bank_from_state(state.memory, state.notes)
    assert bank.tokens.tolist() == torch.cat([x, y, z]).tolist()
    assert bank.frequency.tolist() == [6.0, 3.0, 2.0]
    assert bank.age.tolist() == [0, 1, 1]
    assert (bank.clients.tolist(), bank.groups.tolist()) == (["a", "a", "b"], ["CT", "CT", "MRI"])
    state = algorithm.server_update(state, [])
    assert bank_from_state(state.memory, state.notes).frequency.tolist() == [3.0, 1.5, 1.0]
    assert state.shared["w"].item() == 2.0
    assert state.round == 3


def test_state_survives_bytes(arm: Arm, uploads: list[Upload]) -> None:
    state = arm.algorithm.server_update(filled(arm.start().server, BANK), uploads)
    back = ServerState.from_bytes(state.to_bytes())
    one, other = (arm.algorithm.server_update(s, uploads_for(s, uploads)) for s in (state, back))
    assert same(one.shared, other.shared)
    assert same(one.memory, other.memory)
    assert one.notes == other.notes


def uploads_for(state: ServerState, uploads: list[Upload]) -> list[Upload]:
    """Return the uploads with a retrieval of each entry of this state's bank."""
    rows = torch.arange(len(bank_from_state(state.memory, state.notes)), dtype=torch.int32)
    retrieved = {"bank/rows": rows, "bank/counts": torch.ones_like(rows)}
    return [Upload(u.client, u.samples, u.loss, u.change, {**u.extra, **retrieved}, u.notes) for u in uploads]


SILENT = {"use": "on", "retrieval": False, "keys": "fixed", "alignment": 0.0}


def test_a_bank_without_influence_is_fedavg() -> None:
    arms = [small_arm(name, adapter=SILENT) for name in ("omnifm", "fedavg")]
    ends = []
    for arm in arms:
        with_bank = filled(arm.start().server, BANK) if arm.experiment.algorithm == "omnifm" else arm.start().server
        broadcast = arm.algorithm.broadcast(with_bank)
        uploads = [arm.runtime.update(broadcast, name, ClientState())[0] for name in arm.participants]
        ends.append(arm.algorithm.server_update(with_bank, uploads).shared)
    assert same(*ends)
    assert not same(ends[0], arms[0].start().server.shared)


def test_by_default_the_backbone_is_averaged_in_circles_and_statistics_stay_at_home() -> None:
    arm = small_arm("omnifm", omnifm={})
    state = arm.start().server
    shared = {name.split(".")[1] if name.startswith("network.") else "adapter" for name in state.shared}
    assert shared == {"head", "adapter"}
    in_circles = {name.removeprefix("circle.initial/") for name in state.memory if name.startswith("circle.initial/")}
    kept = {name for name in arm.runtime.personal if name.startswith("network.")}
    assert {name.rsplit(".", 1)[-1] for name in kept} == {"running_mean", "running_var", "num_batches_tracked"}
    assert kept | in_circles == {name for name in arm.runtime.initial if name.startswith("network.backbone.")}
    assert not kept & in_circles


def test_where_too_few_clients_are_large_enough_for_circles_it_is_said() -> None:
    made = OmniFM(bank=BankSettings(min_cluster=5), circle=("backbone",), circles="bank")
    assert made.caution({"a": 5, "b": 5, "c": 1}) == ""
    assert made.caution({"a": 1}) == "", "who is alone anyway needs no circle"
    text = made.caution({"a": 5, "b": 4, "c": 3})
    assert text.startswith("Nobody learns with anybody: only a has bank.min_cluster = 5 patients for training")
    assert text.endswith("each client trains its backbone by itself. Lower bank.min_cluster, or bring more patients.")
    assert "no client has bank.min_cluster = 5" in made.caution({"a": 4, "b": 4})
    for without in (replace(made, circles="group"), replace(made, circles="off"), replace(made, circle=()), FedAvg()):
        assert without.caution({"a": 1, "b": 1}) == ""
