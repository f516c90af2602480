"""What all server optimisers have in common, and that they agree with another library's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import made_holdings, same, small_arm
from rounds import arm_rounds, made_upload

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedavgm import FedAvgM
from omnifm.algorithms.feddyn import FedDyn
from omnifm.algorithms.fedyogi import FedYogi
from omnifm.algorithms.scaffold import Scaffold
from omnifm.core.records import ServerState
from omnifm.core.tensors import Tensors, strip_prefix
from omnifm.engines.in_process import InProcess

# A large eta makes much of what should not be optimised.
BOLD: dict[str, dict[str, Any]] = {
    "fedavgm": {"eta": 2.0},
    "fedadam": {"eta": 0.1},
    "fedyogi": {"eta": 0.1},
    "scaffold": {"eta": 2.0},
    "feddyn": {"alpha": 0.1},
}
MEMORIES = {
    "fedavgm": {"velocity"},
    "fedadam": {"first", "second"},
    "fedyogi": {"first", "second"},
    "scaffold": {"control"},
    "feddyn": {"h"},
}
OPTIMISERS: list[Algorithm] = [FedAvgM(), FedAdam(), FedYogi(), Scaffold(eta=2.0), FedDyn()]
every = pytest.mark.parametrize("name", list(BOLD))
each = pytest.mark.parametrize("algorithm", OPTIMISERS, ids=lambda algorithm: type(algorithm).__name__)


def made_shared() -> Tensors:
    return {
        "w": torch.tensor([1.0, -2.0]),
        "frozen": torch.tensor([3.0]),
        "running_var": torch.tensor([1.0]),
        "batches": torch.tensor(5),
    }


def after_a_round(algorithm: Algorithm) -> ServerState:
    """Return the state after a round in which two of three clients have moved the weights."""
    state = algorithm.init(made_shared(), ["w"], made_holdings(3))
    control = {"control/w": torch.tensor([0.5, 0.5])} if isinstance(algorithm, Scaffold) else {}
    uploads = [made_upload("a", 1, w=[0.5, 1.0]), made_upload("b", 3, w=[-0.1, 0.2])]
    for upload in uploads:
        upload.extra.update(control)
    return algorithm.server_update(state, uploads)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_by_default_it_is_not_fedavg(name: str) -> None:
    *_, (_, _, plain) = arm_rounds(small_arm("fedavg"), 2)
    *_, (_, _, optimised) = arm_rounds(small_arm(name), 2)
    assert not same(plain.shared, optimised.shared)


@every
def test_statistics_are_averaged_and_never_optimised(name: str) -> None:
    arm = small_arm(name, None, **{name: BOLD[name]})
    trainable = {n for n, _ in arm.runtime.model.named_parameters()}
    for before, uploads, after in arm_rounds(arm, 3, {2: ["CT-1"]}):
        buffers = [n for n in after.shared if n not in trainable]
        assert sum("running_var" in n for n in buffers) > 2
        # SCAFFOLD and FedDyn count clients, the others samples.
        counts = [1 if name in ("scaffold", "feddyn") else u.samples for u in uploads]
        for n in buffers:
            if n.endswith("num_batches_tracked"):
                assert torch.equal(after.shared[n], uploads[0].change[n])
                assert after.shared[n].dtype == torch.int64
                continue
            values = [c * (before.shared[n] + u.change[n]).double() for c, u in zip(counts, uploads, strict=True)]
            torch.testing.assert_close(after.shared[n], (torch.stack(values).sum(0) / sum(counts)).float())
            assert not n.endswith("running_var") or after.shared[n].min() > 0


@every
def test_memory_is_of_shared_parameters_only(name: str) -> None:
    arm = small_arm(name, federation={"personal": ["backbone"]})
    parameters = {n for n, _ in arm.runtime.model.named_parameters() if n not in arm.runtime.personal}
    assert 0 < len(parameters) < len(list(arm.runtime.model.parameters()))
    expected = {f"{memory}/{n}" for memory in MEMORIES[name] for n in parameters}
    for before, uploads, after in arm_rounds(arm, 2):
        assert before.memory.keys() == after.memory.keys() == expected
        assert all(
            not u.change.keys() & arm.runtime.personal and not u.extra.keys() & arm.runtime.personal for u in uploads
        )
        assert before.shared.keys() == after.shared.keys() == arm.runtime.initial.keys() - arm.runtime.personal


@each
def test_what_no_gradient_moves_is_averaged(algorithm: Algorithm) -> None:
    state = algorithm.init(made_shared(), ["w"], made_holdings(2))
    uploads = [
        made_upload("a", 2, frozen=[1.0], running_var=[-0.5], batches=7),
        made_upload("b", 2, frozen=[3.0], running_var=[0.25], batches=9),
    ]
    for _ in range(2):
        state = algorithm.server_update(state, uploads)
    # Twice the means 2 and -0.125; the first client's 7; and no upload brought w.
    assert state.shared["frozen"].tolist() == [7.0]
    assert state.shared["running_var"].tolist() == [0.75]
    assert state.shared["batches"].item() == 7
    assert state.shared["w"].tolist() == [1.0, -2.0]
    assert {n.split("/")[1] for n in state.memory} == {"w"}


@each
def test_a_round_that_nobody_answers_changes_nothing(algorithm: Algorithm) -> None:
    state = after_a_round(algorithm)
    after = algorithm.server_update(state, [])
    assert after.round == 2
    assert same(after.shared, state.shared)
    assert same(after.memory, state.memory)
    assert after.notes == state.notes


@each
def test_a_round_does_not_change_the_state_that_it_was_given(algorithm: Algorithm) -> None:
    state = algorithm.init(made_shared(), ["w"], made_holdings(3))
    data = state.to_bytes()
    control = {"control/w": torch.ones(2)} if isinstance(algorithm, Scaffold) else {}
    upload = made_upload("a", 1, w=[0.5, 1.0], running_var=[0.5], batches=6)
    upload.extra.update(control)
    sent = upload.to_bytes()
    after = algorithm.server_update(state, [upload])
    assert state.to_bytes() == data
    assert upload.to_bytes() == sent
    assert not same(after.shared, state.shared)


@every
def test_sampled_clients_and_dropouts_leave_a_sane_state(name: str) -> None:
    arm = small_arm(name, federation={"participation": 0.34, "rounds": 4, "evaluate_every": 4})
    with InProcess(arm.runtime, 1) as engine:
        last = arm.federation(engine).run(arm.start()).server
    lonely = [state for _, _, state in arm_rounds(arm, 3, {1: arm.participants, 2: ["CT-1", "CT-2"]})]
    assert same(lonely[0].shared, arm.start().server.shared)
    for state in (last, *lonely):
        assert all(value.isfinite().all() for value in (*state.shared.values(), *state.memory.values()))
        assert all(value.min() >= 0 for value in strip_prefix("second", state.memory).values())


class Nobody:
    """A network without nodes: Flower's strategies note the weights that they would send, and send none."""

    def get_node_ids(self) -> list[int]:
        return []


START: Tensors = {"kernel": torch.linspace(-1, 1, 12).reshape(3, 4), "bias": torch.tensor([0.5, -0.5])}
Changes = list[list[tuple[int, Tensors]]]


def random_changes() -> Changes:
    """Return the samples and the change of each client, by round; in every other round one has dropped out."""
    draw = torch.Generator().manual_seed(5)
    return [
        [
            (samples, {name: 0.1 * torch.randn(value.shape, generator=draw) for name, value in START.items()})
            for samples in (10, 25, 40)[: 2 + number % 2]
        ]
        for number in range(6)
    ]


def our_course(algorithm: Algorithm, changes: Changes) -> list[Tensors]:
    state, course = algorithm.init(START, list(START), made_holdings(3)), []
    for clients in changes:
        state = algorithm.server_update(state, [made_upload(str(n), n, **change) for n, change in clients])
        course.append(state.shared)
    return course


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Flower's strategies."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    module: ModuleType = pytest.importorskip("flwr.serverapp.strategy")
    return module


def flower_course(strategy: Any, changes: Changes, etas: list[float] | None = None) -> list[Tensors]:
    """Return the weights after each round of one of Flower's strategies, in float64; it may have an eta by round."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict

    def record(tensors: Tensors) -> ArrayRecord:
        return ArrayRecord({name: Array(value.double().numpy()) for name, value in tensors.items()})

    weights, course = START, []
    for number, clients in enumerate(changes, 1):
        if etas is not None:
            strategy.eta = etas[number - 1]
        list(strategy.configure_train(number, record(weights), ConfigRecord(), Nobody()))
        replies = []
        for samples, change in clients:
            arrays = record({name: value.double() + change[name] for name, value in weights.items()})
            content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": samples})})
            metadata = Metadata(0, "", 0, 0, "", "", 0.0, 1.0, "train")
            replies.append(Message(content, metadata=metadata))  # type: ignore[call-overload]
        moved, _ = strategy.aggregate_train(number, replies)
        weights = {name: torch.tensor(array.numpy()) for name, array in moved.items()}
        course.append({name: value.float() for name, value in weights.items()})
    return course


NO_NODES = {"min_train_nodes": 0, "min_available_nodes": 0}
ADAPTIVE = {"eta": 0.1, "tau": 0.01}


def test_momentum_agrees_with_flower(flower: ModuleType) -> None:
    theirs = flower.FedAvgM(server_momentum=0.7, server_learning_rate=0.5, **NO_NODES)
    changes = random_changes()
    torch.testing.assert_close(our_course(FedAvgM(0.7, 0.5), changes), flower_course(theirs, changes))


def test_adam_agrees_with_flower(flower: ModuleType) -> None:
    theirs = flower.FedAdam(beta_1=0.8, beta_2=0.95, **ADAPTIVE, **NO_NODES)
    # Flower starts from v = 0, and corrects the bias: both are undone here, the paper has neither.
    theirs.v_t = {name: torch.full_like(value, 0.01**2).double().numpy() for name, value in START.items()}
    etas = [0.1 * (1 - 0.8 ** (number + 2)) / (1 - 0.95 ** (number + 2)) ** 0.5 for number in range(6)]
    changes = random_changes()
    torch.testing.assert_close(
        our_course(FedAdam(0.8, 0.95, **ADAPTIVE), changes), flower_course(theirs, changes, etas)
    )


def test_yogi_agrees_with_flower(flower: ModuleType) -> None:
    theirs = flower.FedYogi(beta_1=0.8, beta_2=0.95, **ADAPTIVE, **NO_NODES)
    theirs.v_t = {name: torch.full_like(value, 0.01**2).double().numpy() for name, value in START.items()}
    changes = random_changes()
    torch.testing.assert_close(our_course(FedYogi(0.8, 0.95, **ADAPTIVE), changes), flower_course(theirs, changes))
