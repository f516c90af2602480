from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import same, small_arm

from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors
from omnifm.federation.acceptance import Acceptance, AcceptedBroadcast
from omnifm.runs.arm import Arm

RECEIVED = Broadcast(6, {"head": torch.tensor([4.0]), "steps": torch.tensor(3)}, {"weights/body": torch.tensor([8.0])})
OWN = ClientState(
    {"body": torch.tensor([0.0])},
    {"last/head": torch.tensor([0.0]), "last/steps": torch.tensor(1), "other": torch.ones(1)},
)


def wants(body: float) -> Callable[[Broadcast, ClientState], float]:
    """Return a loss that is least where the body is so much."""
    return lambda broadcast, client: abs(broadcast.extra["weights/body"].item() - body)


def start(
    loss: Callable[[Broadcast, ClientState], float], client: ClientState = OWN, **changes: Any
) -> AcceptedBroadcast:
    settings = {"broadcast": RECEIVED, "examples": 20, **changes}
    return Acceptance(5).start(settings["broadcast"], client, range(settings["examples"]), loss)


@pytest.mark.parametrize(("body", "share", "head", "steps"), [(9, 1.0, 4, 3), (3.5, 0.5, 2, 1), (-1, 0.0, 0, 1)])
def test_the_share_with_the_least_loss_is_taken(body: float, share: float, head: float, steps: int) -> None:
    accepted = start(wants(body))
    assert accepted.notes == {"accepted": share, "compared": 6, "compared_circle": -1}
    assert accepted.used.shared["head"].item() == head
    assert accepted.used.shared["steps"].item() == steps
    assert accepted.used.extra["weights/body"].item() == 8 * share


def test_among_equals_what_was_received_is_taken() -> None:
    assert start(lambda broadcast, client: 1.0).notes["accepted"] == 1.0


def test_between_comparisons_the_share_holds() -> None:
    def never(broadcast: Broadcast, client: ClientState) -> float:
        raise AssertionError("nothing is compared")

    chosen = ClientState(OWN.personal, OWN.memory, {"accepted": 0.5, "compared": 6, "compared_circle": -1})
    later = Broadcast(10, RECEIVED.shared, RECEIVED.extra)
    accepted = start(never, chosen, broadcast=later)
    assert accepted.used.shared["head"].item() == 2.0
    assert accepted.notes == chosen.notes
    early = start(never, broadcast=Broadcast(5, RECEIVED.shared, RECEIVED.extra))
    assert early.used.shared["head"].item() == 4.0
    assert early.notes == {}


def test_a_client_that_was_away_compares_when_it_is_back() -> None:
    chosen = ClientState(OWN.personal, OWN.memory, {"accepted": 1.0, "compared": 6, "compared_circle": -1})
    later = Broadcast(13, RECEIVED.shared, RECEIVED.extra)
    assert start(wants(-1), chosen, broadcast=later).notes == {"accepted": 0.0, "compared": 13, "compared_circle": -1}


CIRCLE = {"circle": torch.tensor([4])}
FROM_CIRCLE = Broadcast(7, RECEIVED.shared, {**RECEIVED.extra, **CIRCLE})


def test_a_share_of_other_weights_does_not_hold() -> None:
    """Neither when a circle sends weights first nor after it is left; a circle without weights changes nothing."""
    refused = ClientState(OWN.personal, OWN.memory, {"accepted": 0.0, "compared": 6, "compared_circle": -1})
    joined = start(wants(9), refused, broadcast=FROM_CIRCLE)
    assert joined.notes == {"accepted": 1.0, "compared": 7, "compared_circle": 4}
    member = ClientState(OWN.personal, OWN.memory, dict(joined.notes))
    assert start(wants(-1), member, broadcast=replace(FROM_CIRCLE, round=8)).notes == joined.notes
    alone = start(lambda broadcast, client: 1.0, member, broadcast=Broadcast(9, RECEIVED.shared))
    assert alone.notes == {"accepted": 1.0, "compared": 9, "compared_circle": -1}
    first = Broadcast(7, RECEIVED.shared, {"reference/body": torch.tensor([8.0]), **CIRCLE})
    assert start(wants(9), refused, broadcast=first).notes == refused.notes
    assert start(wants(9), refused, broadcast=FROM_CIRCLE, examples=9).notes == {}


def test_with_few_examples_or_nothing_of_its_own_a_client_takes_what_it_receives() -> None:
    assert start(wants(-1), examples=9).used is RECEIVED
    assert start(wants(-1), ClientState()).used is RECEIVED


def test_the_algorithm_does_not_see_the_clients_copy() -> None:
    seen = list[ClientState]()
    accepted = start(lambda broadcast, client: float(len(seen.append(client) or seen)))
    assert [state.memory.keys() for state in (*seen, accepted.client)] == [{"other"}] * 4


def test_the_upload_is_a_change_of_what_was_received() -> None:
    accepted = start(wants(-1))
    upload = Upload("a", 1, 0.0, {"head": torch.tensor([1.0]), "steps": torch.tensor(2), "body": torch.tensor([1.5])})
    sent, state = accepted.finished(upload, ClientState({"body": torch.tensor([1.5])}))
    assert sent.change["head"].item() == 1.0 - 4.0
    assert sent.change["body"].item() == 1.5 - 8.0
    assert sent.change["steps"].item() == 2
    assert sent.notes == {"accepted": 0.0, "compared": 6}
    assert state.notes["accepted"] == 0.0
    assert state.memory["last/head"].item() == 1.0
    assert state.memory["last/body"].item() == 1.5


def trained(arm: Arm, rounds: int) -> tuple[Tensors, dict[str, ClientState], list[float]]:
    server, clients, shares = arm.start().server, dict[str, ClientState](), list[float]()
    for _ in range(rounds):
        broadcast, uploads = arm.algorithm.broadcast(server), []
        for name in arm.participants:
            upload, clients[name] = arm.runtime.update(broadcast, name, clients.get(name, ClientState()))
            uploads.append(upload)
        server = arm.algorithm.server_update(server, uploads)
        shares += [upload.notes.get("accepted", 1.0) for upload in uploads]
    return server.shared, clients, shares


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "feddyn", "ditto", "fedrep", "omnifm"])
def test_where_nothing_is_compared_nothing_changes(algorithm: str) -> None:
    plain = trained(small_arm(algorithm), 2)[0]
    rare = {"acceptance": "on", "acceptance_every": 9}
    assert same(trained(small_arm(algorithm, federation=rare), 2)[0], plain)


def test_every_client_may_keep_its_own() -> None:
    """With a learning rate that spoils the mean, clients of different classes do not take all of it."""
    settings = {"acceptance": "on", "acceptance_every": 1}
    arm = small_arm("fedavg", federation=settings, training={"learning_rate": 0.2, "epochs": 3})
    _, clients, shares = trained(arm, 3)
    assert min(shares) < 1.0
    assert all(state.notes["accepted"] in (0.0, 0.5, 1.0) for state in clients.values())


def test_weights_that_have_diverged_are_not_accepted() -> None:
    arm = small_arm("fedavg", federation={"acceptance": "on", "acceptance_every": 1})
    broadcast, name = arm.algorithm.broadcast(arm.start().server), arm.participants[0]
    _, state = arm.runtime.update(broadcast, name, ClientState())
    spoilt = {n: v * torch.nan if v.is_floating_point() else v for n, v in broadcast.shared.items()}
    upload, after = arm.runtime.update(Broadcast(2, spoilt), name, state)
    assert upload.notes["accepted"] == after.notes["accepted"] == 0.0


def test_no_client_is_worse_off_on_its_validation_data() -> None:
    """The model as it is judged has at most the loss of either candidate."""
    arm = small_arm("fedavg", federation={"acceptance": "on", "acceptance_every": 1}, training={"learning_rate": 0.2})
    blind = small_arm("fedavg", training={"learning_rate": 0.2})
    shared, clients, _ = trained(arm, 2)
    broadcast = Broadcast(3, shared)
    for name, state in clients.items():
        judged = arm.runtime.evaluate(broadcast, name, state, "validation", "before_local_training").numbers["loss"]
        inner = ClientState(state.personal)
        own = {n.removeprefix("last/"): v for n, v in state.memory.items() if n.startswith("last/")}
        for candidate in (broadcast, Broadcast(3, own)):
            other = blind.runtime.evaluate(candidate, name, inner, "validation", "before_local_training")
            assert judged <= other.numbers["loss"] + 1e-6
