from __future__ import annotations

import torch
from helpers import plain_sgd, quadratic_trainer, small_arm

from omnifm.algorithms.bank_broadcast import bank_from_state
from omnifm.algorithms.local import Local
from omnifm.core.records import Broadcast, ClientState, ServerState
from omnifm.runs.arm import Arm


def play(arm: Arm, name: str, rounds: int) -> tuple[ServerState, ClientState, list[int]]:
    """Train one client for some rounds; also return the bytes it sent in each."""
    server, state, sent = arm.start().server, ClientState(), []
    for _ in range(rounds):
        upload, state = arm.runtime.update(arm.algorithm.broadcast(server), name, state)
        assert upload.change == {}
        sent.append(upload.size)
        server = arm.algorithm.server_update(server, [upload])
    return server, state, sent


def test_nothing_travels() -> None:
    arm = small_arm("local")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    server, _, sent = play(arm, "CT-1", 2)
    assert (broadcast.size, sent) == (0, [0, 0])
    assert server.shared == {}
    assert server.round == 2


def test_training_goes_on_where_it_stood() -> None:
    algorithm, state = Local(), ClientState()
    trainer = quadratic_trainer("a", [8.0], plain_sgd(0.5))
    trainer.personal = frozenset(trainer.model.state_dict())
    for number in (1, 2, 3):
        trainer.load({"network.weight": torch.tensor([-99.0])} if state.personal else {})
        _, state = algorithm.client_update(Broadcast(number, {}), state, trainer)
    # Each round halves the way from 0 to 8.
    assert state.personal["network.weight"].item() == 7.0


def test_everything_is_personal() -> None:
    arm = small_arm("local")
    assert play(arm, "CT-1", 1)[1].personal.keys() == arm.runtime.initial.keys()


def test_bare_network_keeps_no_bank() -> None:
    arm = small_arm("local")
    assert arm.runtime.model.adapter is None
    assert play(arm, "CT-1", 1)[1].memory == {}


def test_with_the_adapter_each_client_has_a_bank_of_its_own() -> None:
    arm = small_arm("local", adapter={"use": "on"})
    state = play(arm, "MRI", 2)[1]
    bank = bank_from_state(state.memory, state.notes)
    assert len(bank) > 0
    assert bank.clients.names == ("MRI",)
    assert bank.groups.names == ("MRI",)
    assert int(bank.sizes.min()) >= arm.experiment.bank.min_cluster
    assert bank.frequency.sum().item() == 12, "in the second round, of so few entries the nearest is counted"


def test_retrieval_is_from_the_own_bank() -> None:
    arm = small_arm("local", adapter={"use": "on"})
    adapter = arm.runtime.model.adapter
    assert adapter is not None
    state = play(arm, "CT-1", 1)[1]
    broadcast = arm.algorithm.broadcast(arm.start().server)
    arm.runtime.evaluate(broadcast, "CT-1", state, "test", "before_local_training")
    assert torch.equal(adapter.bank, state.memory["bank.tokens"])
    arm.runtime.evaluate(broadcast, "CT-2", ClientState(), "test", "before_local_training")
    assert len(adapter.bank) == 0
